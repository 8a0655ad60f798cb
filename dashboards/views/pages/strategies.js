// The page Strategies: what runs, what it says, and the way in. Python sends `items`, `detail`, `classes`; what a person
// wants goes back as one message. Texts enter as text, never as markup.
const make = (name, text = '', kind = '') => {
  const made = document.createElement(name);
  if (text !== '') made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const KINDS = {integer: ['number', '1'], number: ['number', 'any'], flag: ['checkbox', ''], text: ['text', ''], other: ['text', '']};
function field(kind, value) {
  const input = make('input'), [type, step] = KINDS[kind] || KINDS.text;
  input.type = type;
  if (step) input.step = step;
  if (kind === 'flag') input.checked = !!value; else input.value = value === null || value === undefined ? '' : value;
  input.dataset.kind = kind;
  return input;
}
const isEmpty = input => input.dataset.kind !== 'flag' && input.value.trim() === '';
function valueOf(input) {
  const kind = input.dataset.kind;
  if (kind === 'flag') return input.checked;
  if (kind === 'integer' || kind === 'number') return Number(input.value);
  return input.value;
}
const RISKS = [['stop_loss_pct', 'number'], ['take_profit_pct', 'number'], ['max_position', 'integer']];

export function render({model}) {
  const page = make('div', '', 'page'), list = make('div', '', 'tile list'), detail = make('div', '', 'tile detail');
  const deploy = make('div', '', 'tile deploy'), w = key => model.words[key] || key;
  page.append(list, detail, deploy);
  const mayTrade = () => model.role === 'trader';
  const act = (action, more = {}) => model.send_msg({action, ...more});
  const sure = (text, kind, deed) => {
    const button = make('button', text, kind);
    button.disabled = !mayTrade();
    button.onclick = event => {
      event.stopPropagation();
      if (button.dataset.armed) { deed(); button.disabled = true; delete button.dataset.armed; button.className = kind;
                                  button.textContent = text; setTimeout(() => { button.disabled = !mayTrade(); }, 1500); return; }
      button.dataset.armed = '1'; button.className = 'sure'; button.textContent = w('sure');
      setTimeout(() => { delete button.dataset.armed; button.className = kind; button.textContent = text; }, 3000);
    };
    return button;
  };
  const plain = (text, deed) => {
    const button = make('button', text);
    button.disabled = !mayTrade();
    button.onclick = event => { event.stopPropagation(); deed(); };
    return button;
  };

  // ---- what runs
  const title = make('div', '', 'title'), count = make('small'), age = make('i'), rows = make('div', '', 'rows');
  const table = make('table'), head = make('tr'), body = make('tbody'), thead = make('thead'), none = make('div', w('none'), 'empty');
  thead.append(head); table.append(thead, body); rows.append(table, none);
  title.append(make('span', w('strategies')), count, age); list.append(title, rows);
  const COLUMNS = [['strategy', ''], ['symbol', 'm'], ['state', ''], ['position', 'n'], ['average', 'n'], ['pnl', 'n'], ['run', 'm'], ['', '']];
  head.append(...COLUMNS.map(([key, kind]) => make('th', key ? w(key) : '', kind)));
  const buttons = item => {
    const name = item.name, cell = make('td');
    const idle = ['stopped', 'failed', 'error'].includes(item.state);
    if (idle) cell.append(plain(w('start'), () => act('start', {name})));
    else {
      if (item.state === 'paused') cell.append(plain(w('resume'), () => act('resume', {name})));
      else cell.append(plain(w('pause'), () => act('pause', {name})));
      cell.append(sure(w('stop'), '', () => act('stop', {name})));
    }
    if (item.lots) cell.append(sure(w('flatten'), '', () => act('flatten', {name})));
    if (idle) cell.append(sure(w('remove'), '', () => act('remove', {name})));
    return cell;
  };
  const drawList = () => {
    count.textContent = model.items.length || '';
    none.style.display = model.items.length ? 'none' : '';
    while (body.rows.length > model.items.length) body.deleteRow(-1);
    model.items.forEach((item, n) => {
      const tr = body.rows[n] || body.insertRow(), mark = JSON.stringify(item);
      tr.className = item.name === model.chosen ? 'on' : '';
      if (tr.mark === mark) return;
      tr.mark = mark;
      tr.dataset.key = item.name;
      tr.onclick = () => { model.chosen = item.name; };
      const cells = [[item.name, ''], [item.symbol, 'm'], [item.state_word, 'state ' + item.lamp], [item.position, 'n ' + item.side],
                     [item.average, 'n'], [item.pnl, 'n ' + item.pnl_kind], [item.run, 'm q']];
      const held = [...tr.cells].find(cell => cell.querySelector('[data-armed]'));
      tr.replaceChildren(...cells.map(([text, kind]) => make('td', text, kind)), held || buttons(item));
    });
  };
  const onAges = event => {
    const seconds = event.detail.strategy;
    if (seconds === undefined) return;
    age.textContent = seconds < 600 ? seconds.toFixed(seconds < 10 ? 1 : 0) + ' s' : '—';
    list.classList.toggle('stale', seconds > 5);
  };
  window.addEventListener('ages', onAges);
  model.on('remove', () => window.removeEventListener('ages', onAges));

  // ---- one of them
  const tabs = make('div', '', 'tabs'), shown = make('div', '', 'body');
  detail.append(tabs, shown);
  let formOf = '', formName = '';
  const panes = {
    parameters: one => {
      const key = one.name + one.run_id + JSON.stringify(one.parameters) + JSON.stringify(one.risk);
      if (formOf === key && shown.querySelector('.form')) return;
      const written = formName === one.name ? [...shown.querySelectorAll('input.changed')] : [];  // a new run takes it not away
      formOf = key; formName = one.name;
      const form = make('div', '', 'form'), inputs = [], changed = () => inputs.filter(input => input.classList.contains('changed'));
      const add = (name, kind, value, note, block) => {
        const input = field(kind, value);
        input.disabled = !mayTrade();
        input.dataset.block = block; input.dataset.name = name;
        const first = JSON.stringify(isEmpty(input) ? null : valueOf(input));
        input.oninput = () => { input.classList.toggle('changed', JSON.stringify(isEmpty(input) ? null : valueOf(input)) !== first);
                                save.disabled = !mayTrade() || !changed().length; };
        inputs.push(input);
        form.append(make('label', name), input, make('small', note || ''));
      };
      const save = sure(w('save'), '', () => {
        const change = {params: {}, risk: {}};
        changed().forEach(input => { change[input.dataset.block][input.dataset.name] = isEmpty(input) ? null : valueOf(input); });
        act('edit', {name: one.name, ...change});
      });
      save.disabled = true;
      one.parameters.forEach(([name, kind, value, note]) => add(name, kind, value, note, 'params'));
      if (!one.parameters.length) form.append(make('label', w('no_parameters')));
      form.append(make('h4', w('risk')));
      RISKS.forEach(([name, kind]) => add(name, kind, one.risk[name], w(name), 'risk'));
      const foot = make('div', '', 'foot');
      for (const was of written) {
        const input = inputs.find(each => each.dataset.block === was.dataset.block && each.dataset.name === was.dataset.name);
        if (!input) continue;
        if (input.dataset.kind === 'flag') input.checked = was.checked; else input.value = was.value;
        input.oninput();
      }
      foot.append(save, make('small', w('edit_note')));
      shown.replaceChildren(form, foot);
    },
    variables: one => {
      const box = make('div', '', 'values');
      box.append(...one.variables.map(([name, value]) => { const row = make('div'); row.append(make('label', name), make('b', value)); return row; }));
      shown.replaceChildren(one.variables.length ? box : make('div', w('none'), 'empty'));
    },
    orders: one => {
      const box = make('div', '', 'log');
      box.append(...one.orders.map(([at, text]) => { const row = make('div'); row.append(make('label', at), make('span', text)); return row; }));
      shown.replaceChildren(one.orders.length ? box : make('div', w('none'), 'empty'));
    },
    log: one => {
      const box = make('div', '', 'log');
      box.append(...one.log.map(([at, level, text]) => { const row = make('div', '', level); row.append(make('label', at), make('span', text)); return row; }));
      shown.replaceChildren(one.log.length ? box : make('div', w('none'), 'empty'));
    },
    code: one => {
      const facts = make('div', '', 'facts'), code = make('div', '', 'code');
      facts.append(...one.facts.map(([name, value]) => { const row = make('span', name + ' '); row.append(make('b', value)); return row; }));
      code.append(make('pre', one.source || w('no_run')));
      shown.replaceChildren(facts, code);
    },
    error: one => shown.replaceChildren(make('p', one.error, 'bad'), make('pre', one.traceback)),
  };
  let drawn = '';
  const drawDetail = () => {
    const one = model.detail;
    if (!one.name) { tabs.replaceChildren(); shown.replaceChildren(make('div', w('choose'), 'empty')); drawn = formOf = formName = ''; return; }
    const names = ['parameters', 'variables', 'orders', 'log', 'code', ...(one.error ? ['error'] : [])];
    if (!names.includes(model.tab)) { model.tab = 'parameters'; return; }
    tabs.replaceChildren(...names.map(name => {
      const tab = make('button', w(name), (name === model.tab ? 'on ' : '') + (name === 'error' ? 'bad' : ''));
      tab.onclick = () => { model.tab = name; };
      return tab; }));
    const mark = model.tab + JSON.stringify(one);
    if (mark === drawn) return;
    drawn = mark;
    if (model.tab !== 'parameters') formOf = formName = '';
    const top = shown.scrollTop, left = shown.scrollLeft;
    panes[model.tab](one);
    shown.scrollTop = top; shown.scrollLeft = left;
  };

  // ---- the way in
  const drawDeploy = () => {
    const classes = model.classes.filter(one => !one.error), broken = model.classes.filter(one => one.error);
    const bar = make('div', '', 'title'), inside = make('div', '', 'body'), form = make('div', '', 'form');
    bar.append(make('span', w('deploy')), make('small', mayTrade() ? '' : w('viewer_only')));
    const kind = make('select'), name = field('text', ''), symbol = field('text', model.symbol), mode = make('select');
    const confirm = field('text', ''), replace = field('flag', false);
    kind.append(...classes.map(one => { const option = make('option', one.class_name + '  ·  ' + one.file); option.value = one.class_name; return option; }));
    mode.append(...['paper', 'live'].map(value => { const option = make('option', w(value)); option.value = value; return option; }));
    const about = make('small'), params = make('div'), inputs = {}, risks = {};
    params.style.display = 'contents';
    const confirmRow = make('div'); confirmRow.style.display = 'none';
    const row = (key, input, note = '') => [make('label', w(key)), input, ...(note ? [make('small', note)] : [])];
    const button = make('button', w('deploy_do'), 'go');
    const chosen = () => classes.find(one => one.class_name === kind.value);
    const drawParams = () => {
      const one = chosen();
      for (const key of Object.keys(inputs)) delete inputs[key];
      about.textContent = one ? one.about : '';
      name.placeholder = one ? one.class_name : '';
      symbol.placeholder = one && one.several ? 'au2512, ag2512' : 'au2512';
      params.replaceChildren(...(one ? one.parameters : []).flatMap(each => {
        inputs[each.name] = field(each.kind, each.default);
        return row(each.name, inputs[each.name], each.limit || ''); }));
      drawMode();
    };
    const drawMode = () => {
      const live = mode.value === 'live';
      confirmRow.style.display = live ? 'contents' : 'none';
      button.classList.toggle('live', live);
      confirm.placeholder = name.value.trim() || name.placeholder;
    };
    kind.onchange = drawParams; mode.onchange = drawMode; name.oninput = drawMode;
    confirmRow.append(...row('confirm', confirm, w('confirm_note')));
    const risk = make('div'); risk.style.display = 'contents';
    risk.append(make('h4', w('risk')), ...RISKS.flatMap(([key, type]) => { risks[key] = field(type, ''); return row(key, risks[key]); }));
    form.append(...row('class', kind), about, ...row('instance', name), ...row('symbol', symbol), make('h4', w('parameters')), params, risk,
      make('h4', w('mode')), ...row('mode', mode), confirmRow, ...row('replace', replace, w('replace_note')));
    let armed = false;
    button.disabled = !mayTrade() || !classes.length;
    button.onclick = () => {
      if (!armed) { armed = true; button.textContent = w('deploy_sure');
                    setTimeout(() => { armed = false; button.textContent = w('deploy_do'); }, 4000); return; }
      armed = false; button.textContent = w('deploy_do');
      const given = pairs => Object.fromEntries(Object.entries(pairs).filter(([, input]) => !isEmpty(input)).map(([key, input]) => [key, valueOf(input)]));
      act('deploy', {class_name: kind.value, strategy_name: name.value.trim(), symbol: symbol.value.trim(), params: given(inputs),
                     risk: given(risks), mode: mode.value, confirm: confirm.value.trim(), replace: replace.checked});
    };
    const foot = make('div', '', 'foot');
    foot.append(button);
    inside.append(form, foot, ...broken.map(one => make('p', one.error, 'bad')));
    for (const input of inside.querySelectorAll('input, select')) input.disabled = !mayTrade();
    deploy.replaceChildren(bar, inside);
    drawParams();
  };
  drawList(); drawDetail(); drawDeploy();
  model.on('items', drawList);
  model.on('chosen', () => { drawList(); formOf = drawn = ''; });
  model.on(['detail', 'tab'], drawDetail);
  model.on('classes', drawDeploy);
  return page;
}
