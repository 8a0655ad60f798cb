const parts = cell => Array.isArray(cell) ? cell : [cell, ''];
function button(model, root, key, [text, kind, action]) {
  const node = made('button', kind === 'danger' ? 'danger' : '', text), form = model.forms[action];
  node.dataset.action = action;
  const send = values => {
    model.send_msg(values ? {action, key, values} : {action, key});  // Bokeh sends no undefined
    node.disabled = true;
    setTimeout(() => { node.disabled = false; }, 1200); };
  let armed = kind !== 'twice';
  node.onclick = () => {
    if (form) ask(root, form, model.back, send);
    else if (armed) send();
    else { armed = true; node.className = 'sure'; node.textContent = model.sure;
           setTimeout(() => { armed = false; node.className = ''; node.textContent = text; }, 3000); } };
  return node;
}
function link(text, href) {
  const node = made('a', '', text);
  node.href = href.replace('{host}', location.hostname); node.target = '_blank'; node.rel = 'noopener';
  return node;
}
export function render({model}) {
  const tile = made('div', 'tile'), title = made('div', 'title'), name = made('span'), count = made('small'), age = made('i');
  const rows = made('div', 'rows'), table = made('table'), empty = made('div', 'empty');
  const head = table.createTHead().insertRow(), body = table.createTBody();
  rows.append(table, empty); tile.append(title, rows);
  const drawHead = () => {
    name.textContent = model.title;
    title.replaceChildren(name, count, age, ...model.tools.map(tool => button(model, tile, '', tool)));
    empty.textContent = model.empty;
    head.replaceChildren(...model.columns.map(([text, kind]) => made('th', kind, text)));
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
        const column = (model.columns[c] || ['', ''])[1];
        if (Array.isArray(cell[0])) {
          td.className = column; td.replaceChildren(...cell.map(each => button(model, tile, row[0], each))); return; }
        const [text, kind, action, href] = parts(cell);
        td.className = column + ' ' + (action ? '' : kind);
        if (href) td.replaceChildren(link(text, href));
        else if (action) td.replaceChildren(button(model, tile, row[0], cell));
        else { td.textContent = text; td.title = text; }
      });
      while (tr.cells.length > row.length - 1) tr.deleteCell(-1);
    });
  };
  drawHead(); drawRows();
  whenAged(model, tile, age);
  model.on(['title', 'columns', 'empty', 'tools'], drawHead);
  model.on(['rows', 'note'], drawRows);
  return tile;
}
