export function render({model}) {
  const tile = document.createElement('div');
  tile.className = 'tile';
  tile.innerHTML = '<div class="title"><span></span></div><div class="levels"></div><div class="facts"></div>';
  const title = tile.querySelector('span'), levels = tile.querySelector('.levels'), facts = tile.querySelector('.facts');
  const cell = (name, text, kind) => {
    const made = document.createElement(name); made.textContent = text; if (kind) made.className = kind; return made; };
  const draw = () => {
    title.textContent = model.title;
    levels.replaceChildren(...model.levels.map(([label, price, lots, share, kind]) => {
      const row = document.createElement('div'), bar = document.createElement('i');
      row.className = 'level ' + kind;
      bar.style.width = Math.round(share * 100) + '%';
      row.append(bar, cell('small', label), cell('b', price, kind), cell('b', lots));
      return row; }));
    facts.replaceChildren(...model.facts.map(([label, value, kind]) => {
      const row = document.createElement('div');
      row.append(cell('small', label), cell('b', value, kind));
      return row; }));
  };
  draw();
  model.on(['title', 'levels', 'facts'], draw);
  return tile;
}
