// The page Research: what was saved, by its figures; one opened in a frame, or two side by side. A page in a frame is
// sandboxed: it has no origin, no cookies and no network, whatever its scripts try.
const make = (name, text = '', kind = '') => {
  const made = document.createElement(name);
  if (text !== '') made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
export function render({model}) {
  const page = make('div', '', 'page'), list = make('div', '', 'tile'), sheets = make('div', '', 'sheets');
  const w = key => model.words[key] || key;
  list.style.gridArea = 'list'; sheets.style.gridArea = 'sheets';
  page.append(list, sheets);
  const title = make('div', '', 'title'), count = make('small'), grow = make('span', '', 'grow'), find = make('input');
  const both = make('button', w('compare'));
  find.placeholder = w('find'); find.type = 'search';
  both.title = w('compare_note');
  title.append(make('span', w('research')), count, grow, find, both);
  const rows = make('div', '', 'rows'), table = make('table'), thead = make('thead'), head = make('tr'), body = make('tbody');
  const none = make('div', w('nothing'), 'empty');
  thead.append(head); table.append(thead, body); rows.append(table, none); list.append(title, rows);
  let sort = ['saved', -1], comparing = false;
  const address = item => model.place.replace('{host}', location.hostname) + encodeURIComponent(item.id);
  const key = cell => (Array.isArray(cell) ? (cell.length > 2 ? cell[2] : cell[0]) : cell);
  const drawHead = () => head.replaceChildren(...model.columns.map(([name, text, kind]) => {
    const th = make('th', text + (sort[0] === name ? (sort[1] < 0 ? ' ↓' : ' ↑') : ''), kind + (sort[0] === name ? ' on' : ''));
    th.onclick = () => { sort = [name, sort[0] === name ? -sort[1] : -1]; drawHead(); drawRows(); };
    return th; }));
  const drawRows = () => {
    const wanted = find.value.trim().toLowerCase();
    const seen = model.items.filter(item => !wanted || JSON.stringify(item.cells).toLowerCase().includes(wanted));
    const at = model.columns.findIndex(([name]) => name === sort[0]);
    const known = value => value !== null && value !== '' && value !== undefined;
    seen.sort((a, b) => {
      const x = key(a.cells[at]), y = key(b.cells[at]);
      if (!known(x) || !known(y)) return known(y) - known(x);
      return sort[1] * (x < y ? -1 : x > y ? 1 : 0); });
    count.textContent = model.items.length || '';
    none.style.display = model.items.length ? 'none' : '';
    table.style.display = model.items.length ? '' : 'none';
    body.replaceChildren(...seen.map(item => {
      const tr = make('tr', '', model.opened.includes(item.id) ? 'on' : '');
      tr.dataset.key = item.id;
      tr.append(...item.cells.map((cell, n) => {
        const [text, kind] = Array.isArray(cell) ? cell : [cell, ''];
        const td = make('td', text, model.columns[n][2] + ' ' + kind); td.title = text; return td; }));
      tr.onclick = () => {
        const others = model.opened.filter(id => id !== item.id);
        if (comparing) model.opened = model.opened.includes(item.id) ? others : [...others, item.id].slice(-2);
        else model.opened = [item.id];
      };
      return tr; }));
  };
  both.onclick = () => {
    comparing = !comparing; both.className = comparing ? 'on' : '';
    if (!comparing && model.opened.length > 1) model.opened = model.opened.slice(-1);
  };
  find.oninput = drawRows;
  const figures = item => {
    const other = model.items.find(one => one.id !== item.id && model.opened.includes(one.id));
    const box = make('div', '', 'figures'), small = make('table');
    item.figures.forEach(([name, text, value]) => {
      const tr = make('tr'), theirs = other && other.figures.find(each => each[0] === name);
      const diff = theirs && value !== null && theirs[2] !== null && typeof value === 'number' ? value - theirs[2] : null;
      tr.append(make('td', name, 'q'), make('td', text, 'n'));
      tr.append(make('td', diff === null || diff === 0 ? '' : (diff > 0 ? '+' : '') + Number(diff.toPrecision(3)), 'n q'));
      small.append(tr); });
    box.append(small);
    return box;
  };
  const frames = new Map();
  const drawSheets = () => {
    const opened = model.opened.map(id => model.items.find(item => item.id === id)).filter(item => item);
    for (const id of [...frames.keys()]) if (!model.opened.includes(id)) frames.delete(id);
    const tiles = opened.map(item => {
      const known = frames.get(item.id), tile = known ? known.tile : make('div', '', 'tile');
      if (!known) {
        const bar = make('div', '', 'title'), out = make('a', w('alone') + ' ↗'), shut = make('button', '×'), frame = make('iframe');
        out.href = address(item); out.target = '_blank'; out.rel = 'noopener';
        shut.onclick = () => { model.opened = model.opened.filter(id => id !== item.id); };
        frame.setAttribute('sandbox', 'allow-scripts');
        frame.referrerPolicy = 'no-referrer';
        frame.title = item.title;
        frame.src = address(item);
        bar.append(make('span', item.title), make('small', item.kind), make('span', '', 'grow'), out, shut);
        tile.append(bar, frame);
        frames.set(item.id, {tile});
      }
      const old = tile.querySelector('.figures');
      if (old) old.remove();
      if (opened.length > 1) tile.firstChild.after(figures(item));
      return tile; });
    const same = tiles.length === sheets.children.length && tiles.every((tile, n) => tile === sheets.children[n]);
    if (same && tiles.length) return;
    if (tiles.length) sheets.replaceChildren(...tiles);
    else { const tile = make('div', '', 'tile'); tile.append(make('div', model.items.length ? w('open_one') : w('how'), 'empty')); sheets.replaceChildren(tile); }
  };
  drawHead(); drawRows(); drawSheets();
  model.on('items', () => { drawRows(); drawSheets(); });
  model.on('opened', () => { drawRows(); drawSheets(); });
  return page;
}
