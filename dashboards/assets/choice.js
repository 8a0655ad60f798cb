export function render({model}) {
  const box = document.createElement('div');
  const draw = () => box.replaceChildren(...model.options.map(([value, text]) => {
    const made = document.createElement('button');
    made.textContent = text;
    made.className = value === model.value ? 'on' : '';
    made.onclick = () => { model.value = value; };
    return made; }));
  const dress = () => {
    const last = model.options[model.options.length - 1];
    if (model.page_class) document.documentElement.classList.toggle(model.page_class, last && last[0] === model.value);
  };
  draw(); dress();
  model.on(['value', 'options'], () => { draw(); dress(); });
  return box;
}
