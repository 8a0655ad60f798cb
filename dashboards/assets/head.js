export function render({model}) {
  const head = document.createElement('div');
  head.className = 'head';
  head.innerHTML = '<div class="brand">ARBIG</div><div class="lamp"><i></i><b></b><span></span></div>' +
    '<div class="items"></div><div class="why"></div><div class="space"></div><a></a>';
  const lamp = head.querySelector('.lamp'), [, text, age] = lamp.children;
  const items = head.querySelector('.items'), why = head.querySelector('.why'), leave = head.querySelector('a');
  let heard = performance.now();
  const watch = () => {
    const silence = (performance.now() - heard) / 1000, lost = silence > 4;
    const seconds = model.lamp[2] + silence;
    lamp.className = 'lamp ' + (lost ? 'off' : model.lamp[0]);
    text.textContent = model.lamp[1];
    age.textContent = seconds < 600 ? seconds.toFixed(1) + ' s' : '';
    document.documentElement.classList.toggle('lost', lost);
    document.querySelector('.page').style.filter =
      lost || model.lamp[0] === 'off' ? 'grayscale(1) opacity(.55)' : '';
  };
  const draw = () => {
    items.replaceChildren(...model.items.map(([label, value, kind]) => {
      const item = document.createElement('div'); item.className = 'item';
      const name = document.createElement('small'), shown = document.createElement('b');
      name.textContent = label; shown.textContent = value; shown.className = kind || '';
      item.append(name, shown); return item; }));
    why.textContent = why.title = model.why;
    leave.textContent = model.leave[0];
    if (model.leave[1]) leave.href = model.leave[1].replace('{host}', location.hostname);
  };
  model.on('beat', () => { heard = performance.now(); watch(); });
  model.on(['items', 'why', 'leave'], draw);
  const timer = setInterval(watch, 200);
  model.on('remove', () => clearInterval(timer));
  draw(); watch();
  return head;
}
