const made = (tag, kind, text) => {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
};
// form: {ask, do, kind, typed, fields: [[name, label, kind, value, [choice, ...]], ...]}; `done` gets the fields' values.
function ask(root, form, back, done) {
  const box = made('dialog'), body = made('form'), foot = made('div', 'foot');
  const no = made('button', '', back), yes = made('button', form.kind || 'do', form.do);
  const fields = (form.fields || []).map(([name, label, kind, value, choices]) => {
    const line = made('label', '', label), input = made(kind === 'select' ? 'select' : 'input');
    if (kind === 'select') input.append(...choices.map(choice => made('option', '', choice)));
    else { input.type = kind; input.autocomplete = 'off'; }
    if (kind === 'number') { input.min = 1; input.step = 1; }
    input.name = name; input.value = value; input.maxLength = 400;
    line.append(input);
    return line; });
  const inputs = fields.map(line => line.querySelector('input, select'));
  if (form.typed) {
    const line = made('label', '', form.type), input = made('input', 'typed');
    input.autocomplete = 'off'; input.name = 'typed';
    yes.disabled = true;
    input.oninput = () => { yes.disabled = input.value.trim().toUpperCase() !== form.typed; };
    line.append(input); fields.push(line);
  }
  body.method = 'dialog'; no.type = 'button';
  no.onclick = () => box.close();
  body.onsubmit = () => done(Object.fromEntries(inputs.map(input => [input.name, input.value])));
  box.onclose = () => box.remove();
  foot.append(no, yes);
  body.append(made('p', '', form.ask), ...fields, foot);
  box.append(body); root.append(box); box.showModal();
}
function whenAged(model, tile, age) {
  const onAges = event => {
    const seconds = event.detail[model.source];
    if (seconds === undefined) return;
    const shown = seconds < 600 ? seconds.toFixed(seconds < 10 ? 1 : 0) + ' s' : '—';
    if (age.textContent !== shown) age.textContent = shown;
    tile.classList.toggle('stale', seconds > 6);
  };
  window.addEventListener('ages', onAges);
  model.on('remove', () => window.removeEventListener('ages', onAges));
}
