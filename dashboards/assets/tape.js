const KEPT = 80;
export function render({model}) {
  const tile = document.createElement('div');
  tile.className = 'tile';
  tile.innerHTML = '<div class="title"><span></span></div><div class="rows"><table><thead><tr></tr></thead><tbody></tbody></table></div>';
  const title = tile.querySelector('span'), head = tile.querySelector('tr'), body = tile.querySelector('tbody');
  const made = row => {
    const tr = document.createElement('tr');
    row.forEach((cell, n) => {
      const [text, kind] = Array.isArray(cell) ? cell : [cell, ''], td = document.createElement('td');
      td.textContent = text; td.className = model.columns[n][1] + ' ' + kind;
      tr.append(td);
    });
    return tr;
  };
  const drawHead = () => {
    title.textContent = model.title;
    head.replaceChildren(...model.columns.map(([text, kind]) => {
      const th = document.createElement('th'); th.textContent = text; th.className = kind; return th; }));
  };
  drawHead();
  body.replaceChildren(...model.rows.map(made));
  model.on('rows', () => body.replaceChildren(...model.rows.map(made)));
  model.on('msg:custom', event => {
    for (const row of event.data ? event.data.rows : event.rows) body.prepend(made(row));
    while (body.rows.length > KEPT) body.deleteRow(-1);
  });
  return tile;
}
