export function render({model}) {
  const box = document.createElement('div');
  box.className = 'quote';
  const draw = () => {
    const price = document.createElement('strong');
    price.textContent = model.price; price.className = model.kind;
    box.replaceChildren(price, ...model.items.map(([label, value, kind]) => {
      const item = document.createElement('span'), name = document.createElement('small');
      name.textContent = label;
      const shown = document.createElement('b'); shown.style.fontWeight = 400;
      shown.textContent = value; shown.className = kind || '';
      item.append(name, shown); return item; }));
  };
  draw();
  model.on(['price', 'kind', 'items'], draw);
  return box;
}
