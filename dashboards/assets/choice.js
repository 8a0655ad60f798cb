export function render({model}) {
  const box = document.createElement('div');
  const draw = () => box.replaceChildren(...model.options.map(([value, text]) => {
    const made = document.createElement('button');
    made.textContent = text;
    made.className = value === model.value ? 'on' : '';
    made.onclick = () => { model.value = value; };
    return made; }));
  draw();
  model.on(['value', 'options'], draw);
  return box;
}
