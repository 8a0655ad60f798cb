export function render({model}) {
  const tile = made('div', 'tile'), title = made('div', 'title'), name = made('span'), age = made('i'), list = made('div', 'list');
  title.append(name, age); tile.append(title, list);
  const draw = () => {
    name.textContent = model.title;
    list.replaceChildren(...model.items.map(([label, value, kind]) => {
      const line = made('div', kind.includes('big') ? 'fact big' : 'fact');
      line.append(made('span', '', label), made('b', kind, value));
      return line; })); };
  draw();
  whenAged(model, tile, age);
  model.on(['title', 'items'], draw);
  return tile;
}
