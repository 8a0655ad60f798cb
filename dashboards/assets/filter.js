export function render({model}) {
  const line = made('div', 'line'), service = made('select', 'service'), level = made('select', 'level'), grep = made('input', 'grep');
  grep.type = 'search'; grep.maxLength = 200;
  const draw = () => {
    for (const [node, choices, value] of [[service, model.services, model.service], [level, model.levels, model.level]]) {
      node.replaceChildren(...choices.map(([name, text]) => { const one = made('option', '', text); one.value = name; return one; }));
      node.value = value;
    }
    grep.placeholder = model.hint;
  };
  let waiting;
  service.onchange = () => { model.service = service.value; };
  level.onchange = () => { model.level = level.value; };
  grep.oninput = () => { clearTimeout(waiting); waiting = setTimeout(() => { model.grep = grep.value; }, 350); };
  line.append(service, level, grep);
  model.on(['services', 'levels', 'hint'], draw);
  draw();
  return line;
}
