const parts = cell => Array.isArray(cell) ? cell : [cell, ''];
function button(model, row, cell, td) {
  const [text, kind, action] = cell;
  const made = document.createElement('button');
  made.textContent = text;
  made.dataset.action = action;
  let armed = kind !== 'twice';
  made.onclick = () => {
    if (armed) { model.send_msg({action, key: row[0]}); made.disabled = true;
                 setTimeout(() => { made.disabled = false; }, 1500); }
    else { armed = true; made.className = 'sure'; made.textContent = model.sure;
           setTimeout(() => { armed = false; made.className = ''; made.textContent = text; }, 3000); }
  };
  td.replaceChildren(made);
}
export function render({model}) {
  const tile = document.createElement('div');
  tile.className = 'tile';
  tile.innerHTML = '<div class="title"><span></span><small></small><i></i></div>' +
    '<div class="rows"><table><thead><tr></tr></thead><tbody></tbody></table><div class="empty"></div></div>';
  const [title, count, age] = tile.firstChild.children;
  const head = tile.querySelector('thead tr'), body = tile.querySelector('tbody'), empty = tile.querySelector('.empty');
  const drawHead = () => {
    title.textContent = model.title;
    empty.textContent = model.empty;
    head.replaceChildren(...model.columns.map(([text, kind]) => {
      const th = document.createElement('th'); th.textContent = text; th.className = kind; return th; }));
  };
  const drawRows = () => {
    const rows = model.rows;
    count.textContent = model.note;
    empty.style.display = rows.length ? 'none' : '';
    head.style.display = rows.length ? '' : 'none';
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((row, r) => {
      const tr = body.rows[r] || body.insertRow();
      tr.dataset.key = row[0];
      row.slice(1).forEach((cell, c) => {
        const td = tr.cells[c] || tr.insertCell();
        const mark = row[0] + JSON.stringify(cell);
        if (td.mark === mark) return;
        td.mark = mark;
        const [text, kind, action] = parts(cell);
        td.className = (model.columns[c] || ['', ''])[1] + ' ' + (action ? '' : kind);
        if (action) button(model, row, cell, td); else { td.textContent = text; td.title = text; }
      });
      while (tr.cells.length > row.length - 1) tr.deleteCell(-1);
    });
  };
  const onAges = event => {
    const seconds = event.detail[model.source];
    if (seconds === undefined) return;
    const shown = seconds < 600 ? seconds.toFixed(seconds < 10 ? 1 : 0) + ' s' : '—';
    if (age.textContent !== shown) age.textContent = shown;
    tile.classList.toggle('stale', seconds > 5);
  };
  window.addEventListener('ages', onAges);
  model.on('remove', () => window.removeEventListener('ages', onAges));
  drawHead(); drawRows();
  model.on(['title', 'columns', 'empty'], drawHead);
  model.on(['rows', 'note'], drawRows);
  return tile;
}
