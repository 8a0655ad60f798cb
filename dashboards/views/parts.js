// The parts of parts.py: each is a function that makes its element and draws what its model tells it.

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

// ---- grid
const parts = cell => Array.isArray(cell) ? cell : [cell, ''];
function button(model, root, key, [text, kind, action]) {
  const node = made('button', kind === 'danger' ? 'danger' : '', text), form = model.forms[action];
  node.dataset.action = action;
  const send = values => {
    model.send_msg(values ? {action, key, values} : {action, key});  // Bokeh sends no undefined
    node.disabled = true;
    setTimeout(() => { node.disabled = false; }, 1200); };
  let armed = kind !== 'twice';
  node.onclick = () => {
    if (form) ask(root, form, model.back, send);
    else if (armed) send();
    else { armed = true; node.className = 'sure'; node.textContent = model.sure;
           setTimeout(() => { armed = false; node.className = ''; node.textContent = text; }, 3000); } };
  return node;
}
function link(text, href) {
  const node = made('a', '', text);
  node.href = href.replace('{host}', location.hostname); node.target = '_blank'; node.rel = 'noopener';
  return node;
}
function grid({model}) {
  const tile = made('div', 'tile'), title = made('div', 'title'), name = made('span'), count = made('small'), age = made('i');
  const rows = made('div', 'rows'), table = made('table'), empty = made('div', 'empty');
  const head = table.createTHead().insertRow(), body = table.createTBody();
  rows.append(table, empty); tile.append(title, rows);
  const drawHead = () => {
    name.textContent = model.title;
    title.replaceChildren(name, count, age, ...model.tools.map(tool => button(model, tile, '', tool)));
    empty.textContent = model.empty;
    head.replaceChildren(...model.columns.map(([text, kind]) => made('th', kind, text)));
  };
  const drawRows = () => {
    const rows = model.rows;
    count.textContent = model.note;
    empty.style.display = rows.length ? 'none' : '';
    head.style.display = rows.length ? '' : 'none';
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((row, r) => {
      const tr = body.rows[r] || body.insertRow();
      tr.dataset.key = row[0];
      row.slice(1).forEach((cell, c) => {
        const td = tr.cells[c] || tr.insertCell();
        const mark = row[0] + JSON.stringify(cell);
        if (td.mark === mark) return;
        td.mark = mark;
        const column = (model.columns[c] || ['', ''])[1];
        if (Array.isArray(cell[0])) {
          td.className = column; td.replaceChildren(...cell.map(each => button(model, tile, row[0], each))); return; }
        const [text, kind, action, href] = parts(cell);
        td.className = column + ' ' + (action ? '' : kind);
        if (href) td.replaceChildren(link(text, href));
        else if (action) td.replaceChildren(button(model, tile, row[0], cell));
        else { td.textContent = text; td.title = text; }
      });
      while (tr.cells.length > row.length - 1) tr.deleteCell(-1);
    });
  };
  drawHead(); drawRows();
  whenAged(model, tile, age);
  model.on(['title', 'columns', 'empty', 'tools'], drawHead);
  model.on(['rows', 'note'], drawRows);
  return tile;
}

// ---- facts
function facts({model}) {
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

// ---- curve
const SVG = 'http://www.w3.org/2000/svg', LEFT = 10, RIGHT = 74, TOP = 14, FOOT = 22;
const drawn = (tag, given, text) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
function steps(low, high, wanted) {
  const raw = (high - low) / wanted, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(n => n * size).find(n => n >= raw), found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}
const money = value => Math.round(value).toLocaleString('en-US');
function curve({model}) {
  const tile = made('div', 'tile'), title = made('div', 'title'), name = made('span'), gain = made('small', 'gain'), age = made('i');
  const plot = made('div', 'plot'), tag = made('div', 'tag'), empty = made('div', 'empty');
  const svg = drawn('svg', {});
  title.append(name, gain, age); plot.append(svg, tag); tile.append(title, empty, plot);
  let places = [];
  const draw = () => {
    const {times, values, base} = model, width = plot.clientWidth, height = plot.clientHeight;
    name.textContent = model.title;
    empty.textContent = model.empty;
    empty.style.display = values.length > 1 ? 'none' : '';
    plot.style.display = values.length > 1 ? '' : 'none';
    if (values.length < 2 || width < 120 || height < 60) return;
    const level = base || values[0], change = values[values.length - 1] - level;
    gain.textContent = (change >= 0 ? '+' : '') + money(change) + ' ' + (change >= 0 ? '+' : '') + (100 * change / level).toFixed(2) + '%';
    gain.className = 'gain ' + (change > 0 ? 'up' : change < 0 ? 'down' : '');
    const colour = change >= 0 ? 'var(--up)' : 'var(--down)';
    let low = Math.min(level, ...values), high = Math.max(level, ...values);
    const air = Math.max((high - low) * 0.08, level * 1e-5);
    low -= air; high += air;
    const x = n => LEFT + n / (values.length - 1) * (width - LEFT - RIGHT);
    const y = value => TOP + (high - value) / (high - low) * (height - TOP - FOOT);
    const parts = [];
    for (const value of steps(low, high, Math.max(2, Math.floor(height / 48)))) {
      parts.push(drawn('line', {class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value)}));
      parts.push(drawn('text', {x: width - RIGHT + 8, y: y(value) + 3.5}, money(value)));
    }
    parts.push(drawn('line', {class: 'base', x1: LEFT, x2: width - RIGHT, y1: y(level), y2: y(level)}));
    places = values.map((value, n) => [x(n), y(value)]);
    const course = places.map(([a, b]) => a.toFixed(1) + ' ' + b.toFixed(1)).join('L');
    parts.push(drawn('path', {fill: colour, opacity: .08, d: 'M' + course + 'L' + x(values.length - 1) + ' ' + y(level) + 'L' + LEFT + ' ' + y(level) + 'Z'}));
    parts.push(drawn('path', {class: 'line', stroke: colour, d: 'M' + course}));
    const count = Math.max(2, Math.floor((width - LEFT - RIGHT) / 130));
    for (let n = 0; n < count; n++) {
      const place = Math.round(n * (values.length - 1) / (count - 1));
      parts.push(drawn('text', {x: x(place), y: height - 6, 'text-anchor': n === 0 ? 'start' : n === count - 1 ? 'end' : 'middle'}, times[place]));
    }
    const hair = drawn('line', {class: 'hair', y1: TOP, y2: height - FOOT, visibility: 'hidden'});
    svg.replaceChildren(...parts, hair);
    plot.onpointermove = event => {
      const at = event.clientX - plot.getBoundingClientRect().left;
      const n = Math.max(0, Math.min(values.length - 1, Math.round((at - LEFT) / (width - LEFT - RIGHT) * (values.length - 1))));
      hair.setAttribute('x1', places[n][0]); hair.setAttribute('x2', places[n][0]); hair.setAttribute('visibility', 'visible');
      tag.textContent = times[n] + '  ' + money(values[n]);
      tag.style.left = Math.min(places[n][0] + 8, width - 190) + 'px';
    };
    plot.onpointerleave = () => { hair.setAttribute('visibility', 'hidden'); tag.textContent = ''; };
  };
  const watch = new ResizeObserver(draw);
  watch.observe(plot);
  model.on('remove', () => watch.disconnect());
  whenAged(model, tile, age);
  model.on(['title', 'values', 'times', 'base', 'empty'], draw);
  draw();
  return tile;
}

// ---- filter
function filter({model}) {
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

// ---- ticket
function ticket({model}) {
  const tile = made('div', 'tile'), title = made('div', 'title'), name = made('span'), age = made('i'), body = made('div', 'body');
  title.append(name, age); tile.append(title, body);
  const wish = {direction: 'LONG', offset: 'OPEN', order_type: 'LIMIT'};
  const line = (...nodes) => { const box = made('label', 'line'), word = made('span'); box.append(word, ...nodes); body.append(box); return word; };
  const symbol = made('select', 'symbol'), bid = made('button', 'bid'), ask_ = made('button', 'ask'), quotes = made('div', 'quotes');
  const price = made('input', 'price'), volume = made('input', 'volume'), preview = made('div', 'preview'), send = made('button', 'send');
  price.type = volume.type = 'number'; price.step = 'any'; volume.min = 1; volume.step = 1; volume.value = 1;
  const words = {};
  words.symbol = line(symbol);
  for (const node of [bid, ask_]) { node.type = 'button'; node.append(made('small'), made('b'), made('i')); quotes.append(node); }
  body.append(quotes);
  const choice = (field, values, kind) => {
    const box = made('div', 'choice ' + (kind || '')), nodes = values.map(value => {
      const one = made('button'); one.type = 'button'; one.dataset.value = value;
      one.onclick = () => { wish[field] = value; draw(); look(); };
      return one; });
    box.append(...nodes);
    return [box, () => nodes.forEach(one => {
      one.textContent = model.words[one.dataset.value];
      one.className = (one.dataset.value === wish[field] ? 'on ' : '') + ({LONG: 'up', SHORT: 'down'}[one.dataset.value] || ''); })];
  };
  const [sides, drawSides] = choice('direction', ['LONG', 'SHORT'], 'side');
  const [offsets, drawOffsets] = choice('offset', ['OPEN', 'CLOSE', 'CLOSETODAY', 'CLOSEYESTERDAY']);
  const [types, drawTypes] = choice('order_type', ['LIMIT', 'FAK', 'FOK']);
  body.append(sides, offsets);
  words.order_type = line(types);
  const steps = (input, step) => {
    const box = made('div', 'steps'), less = made('button', '', '−'), more = made('button', '', '+');
    less.type = more.type = 'button';
    const move = sign => { const [size, decimals] = step();
      input.value = (Number(input.value || 0) + sign * size).toFixed(decimals);
      if (input === volume && input.value < 1) input.value = 1;
      draw(); look(); };
    less.onclick = event => { event.preventDefault(); move(-1); };
    more.onclick = event => { event.preventDefault(); move(1); };
    input.oninput = () => { draw(); look(); };
    box.append(less, input, more);
    return box;
  };
  words.price = line(steps(price, () => [model.quote.tick || 1, model.quote.decimals || 0]));
  words.volume = line(steps(volume, () => [1, 0]));
  body.append(preview, send);

  let waiting, armed = false, calm;
  const whole = () => ({...wish, symbol: symbol.value, price: Number(price.value), volume: Number(volume.value)});
  const isWhole = () => symbol.value && price.value !== '' && Number.isInteger(Number(volume.value)) && volume.value > 0;
  const look = () => { clearTimeout(waiting);
    if (isWhole()) waiting = setTimeout(() => model.send_msg({action: 'preview', wish: whole()}), 200); };
  const disarm = () => { clearTimeout(calm); armed = false; };
  const draw = () => {
    disarm();
    drawSides(); drawOffsets(); drawTypes();
    const say = model.words;
    name.textContent = say.ticket;
    for (const [field, node] of Object.entries(words)) node.textContent = say[field];
    bid.firstChild.textContent = say.bid; ask_.firstChild.textContent = say.ask;
    const side = wish.direction === 'LONG' ? 'up' : 'down';
    send.className = 'send ' + side;
    send.disabled = !isWhole() || model.role !== 'trader';
    send.textContent = isWhole() ? [say[wish.direction] + ' ' + say[wish.offset], volume.value, symbol.value, '@', price.value].join(' ') : say.send;
  };
  const drawQuote = () => {
    const {bid_price, bid_volume, ask_price, ask_volume, decimals, symbol: whose} = model.quote;
    if (bid_price === undefined) return;
    bid.children[1].textContent = bid_price.toFixed(decimals); bid.children[2].textContent = '× ' + bid_volume;
    ask_.children[1].textContent = ask_price.toFixed(decimals); ask_.children[2].textContent = '× ' + ask_volume;
    if (price.value === '' && whose === symbol.value) {
      price.value = (wish.direction === 'LONG' ? ask_price : bid_price).toFixed(decimals); draw(); look(); }
  };
  const drawSymbols = () => {
    const value = symbol.value || model.symbol;
    symbol.replaceChildren(...model.symbols.map(one => { const node = made('option', '', one); node.value = one; return node; }));
    symbol.value = value;
  };
  const drawPreview = () => {
    const {lines = [], refusal} = model.preview;
    preview.className = 'preview ' + (refusal ? 'no' : lines.length ? 'good' : '');
    if (refusal) { const text = made('p', '', refusal[1]); preview.replaceChildren(made('code', '', refusal[0]), text); return; }
    preview.replaceChildren(...lines.map(([label, value, kind]) => {
      const row = made('div'); row.append(made('span', '', label), made('b', kind, value)); return row; }));
  };
  const fill = () => {
    const given = model.wish;
    if (!given.symbol) return;
    for (const field of ['direction', 'offset']) wish[field] = given[field];
    if (symbol.value !== given.symbol) { symbol.value = given.symbol; model.symbol = given.symbol; }
    price.value = given.price; volume.value = given.volume;
    draw(); look();
  };
  symbol.onchange = () => { model.symbol = symbol.value; price.value = ''; draw(); };
  const take = side => event => { event.preventDefault(); const {bid_price, ask_price, decimals} = model.quote;
    price.value = (side === 'bid' ? bid_price : ask_price).toFixed(decimals); draw(); look(); };
  bid.onclick = take('bid'); ask_.onclick = take('ask');
  send.onclick = () => {
    if (!armed) { armed = true; send.classList.add('sure'); send.textContent = model.words.sure + ' ' + send.textContent;
                  calm = setTimeout(draw, 4000); return; }
    model.send_msg({action: 'send', wish: whole()});
    draw(); send.disabled = true; setTimeout(draw, 800);
  };
  model.on('quote', drawQuote);
  model.on('symbols', drawSymbols);
  model.on('preview', drawPreview);
  model.on('wish', fill);
  model.on(['words', 'role'], draw);
  drawSymbols(); draw(); drawQuote(); drawPreview(); whenAged(model, tile, age);
  return tile;
}

// ---- head
function head({model}) {
  const root = made('div'), bar = made('div', 'bar'), nav = made('nav'), lamp = made('div', 'lamp'), taste = made('div', 'taste');
  const light = made('i'), text = made('b'), age = made('span'), halt = made('button', 'halt'), view = made('span', 'view');
  const figures = made('div', 'figures'), alarm = made('div', 'alarm'), notice = made('div', 'notice'), leave = made('a', 'leave');
  const dark = made('button', 'shade', '◐'), colours = made('button', 'colours'), rise = made('i', 'up', '▲'), fall = made('i', 'down', '▼'), language = made('button', 'language');
  const worn = document.documentElement.classList;
  lamp.append(light, text, age);
  colours.append(rise, fall);
  taste.append(dark, colours, language);
  bar.append(made('div', 'brand', 'ARBIG'), nav, made('div', 'space'), lamp, view, halt, taste, leave);
  root.append(bar, alarm, figures, notice);

  let heard = performance.now(), quiet = 0;
  const watch = () => {
    const silence = (performance.now() - heard) / 1000, lost = silence > 4, seconds = model.lamp[2] + silence;
    lamp.className = 'lamp ' + (lost ? 'off' : model.lamp[0]);
    if (text.textContent !== model.lamp[1]) text.textContent = model.lamp[1];
    age.textContent = seconds < 600 ? seconds.toFixed(1) + ' s' : '';
    worn.toggle('lost', lost);
    worn.toggle('dim', model.lamp[0] === 'off');
    const ages = {};
    for (const [name, own] of Object.entries(model.ages)) ages[name] = own + silence;
    window.dispatchEvent(new CustomEvent('ages', {detail: ages}));
  };
  const open = name => { model.page = name; };
  const drawNav = () => {
    nav.replaceChildren(...model.pages.map(([name, title]) => {
      const link = made('a', name === model.page ? 'on' : '', title);
      link.href = '?page=' + name; link.dataset.page = name;
      link.onclick = event => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault(); open(name); };
      return link; }));
    const own = model.pages.find(([name]) => name === model.page) || model.pages[0];
    if (own) document.title = own[1] + ' · ARBIG';
    const place = new URL(location);
    if (own && place.searchParams.get('page') !== own[0]) {
      place.searchParams.set('page', own[0]); history.pushState(null, '', place); }
  };
  const drawFigures = () => figures.replaceChildren(...model.items.map(([label, value, kind]) => {
    const item = made('div', 'item');
    item.append(made('small', '', label), made('b', kind, value));
    return item; }));
  const drawAlarms = () => { alarm.textContent = model.alarms.join(' · '); };
  alarm.onclick = () => alarm.classList.toggle('whole');
  const drawNotice = () => {
    clearTimeout(quiet);
    notice.textContent = model.notice[0];
    notice.className = 'notice' + (model.notice[1] ? ' error' : '');
    if (!model.notice[1]) quiet = setTimeout(() => { notice.textContent = ''; }, 5000);
  };
  const drawWords = () => {
    const words = model.words, stopped = ['HALTED', 'REDUCING'].includes(model.state);
    halt.textContent = stopped ? words.resume : words.halt;
    halt.className = stopped ? 'halt resume' : 'halt';
    halt.disabled = model.role !== 'trader';
    view.textContent = words.viewer; view.style.display = model.role === 'trader' ? 'none' : '';
    colours.title = words[model.west ? 'colours_west' : 'colours_cn'];
    dark.title = words[model.dark ? 'light' : 'dark'];
    language.textContent = model.language === 'zh' ? 'EN' : '中文';
    leave.textContent = words.log_out;
    if (model.leave) leave.href = model.leave.replace('{host}', location.hostname);
    document.documentElement.lang = model.language;
  };
  const dress = () => {
    worn.toggle('dark', model.dark); worn.toggle('west', model.west);
    const all = [model.language, model.dark && 'dark', model.west && 'west'].filter(Boolean).join('.');
    document.cookie = `arbig_console=${all}; path=/; max-age=31536000; samesite=strict`;
  };
  const wear = change => { change(); dress(); };
  dark.onclick = () => wear(() => { model.dark = !model.dark; });
  colours.onclick = () => wear(() => { model.west = !model.west; });
  language.onclick = () => wear(() => { model.language = model.language === 'zh' ? 'en' : 'zh'; });
  notice.onclick = () => { notice.textContent = ''; };
  halt.onclick = () => {
    const action = halt.classList.contains('resume') ? 'resume' : 'halt', words = model.words;
    const form = {ask: words[action + '_ask'], do: words[action + '_do'], kind: action === 'halt' ? 'danger' : 'resume',
                  fields: [['reason', words.reason, 'text', '']]};
    ask(root, form, words.cancel_it, ({reason}) => model.send_msg({action, reason})); };
  window.addEventListener('popstate', () => open(new URL(location).searchParams.get('page') || 'overview'));

  model.on('beat', () => { heard = performance.now(); watch(); });
  model.on(['pages', 'page'], drawNav);
  model.on('items', drawFigures);
  model.on('alarms', drawAlarms);
  model.on('notice', drawNotice);
  model.on(['words', 'state', 'language', 'west', 'dark', 'leave', 'role'], drawWords);
  const timer = setInterval(watch, 500);
  model.on('remove', () => clearInterval(timer));
  drawNav(); drawFigures(); drawAlarms(); drawNotice(); drawWords(); watch();
  return root;
}

// ---- choice
function choice({model}) {
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

// ---- quote
function quote({model}) {
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

// ---- book
function book({model}) {
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

// ---- tape
const KEPT = 80;
function tapeView({model}) {
  const tile = document.createElement('div');
  tile.className = 'tile';
  tile.innerHTML = '<div class="title"><span></span></div><div class="rows"><table><thead><tr></tr></thead><tbody></tbody></table></div>';
  const title = tile.querySelector('span'), head = tile.querySelector('tr'), body = tile.querySelector('tbody');
  const made = row => {
    const tr = document.createElement('tr');
    row.forEach((cell, n) => {
      const [text, kind] = Array.isArray(cell) ? cell : [cell, ''], td = document.createElement('td');
      td.textContent = text; td.className = model.columns[n][1] + ' ' + kind;
      tr.append(td);
    });
    return tr;
  };
  const drawHead = () => {
    title.textContent = model.title;
    head.replaceChildren(...model.columns.map(([text, kind]) => {
      const th = document.createElement('th'); th.textContent = text; th.className = kind; return th; }));
  };
  drawHead();
  body.replaceChildren(...model.rows.map(made));
  model.on('rows', () => body.replaceChildren(...model.rows.map(made)));
  model.on('msg:custom', event => {
    for (const row of event.data ? event.data.rows : event.rows) body.prepend(made(row));
    while (body.rows.length > KEPT) body.deleteRow(-1);
  });
  return tile;
}

export default {
  Grid: {render: grid}, Facts: {render: facts}, Curve: {render: curve}, Filter: {render: filter},
  Ticket: {render: ticket}, Head: {render: head}, Choice: {render: choice}, Quote: {render: quote},
  Book: {render: book}, TapeView: {render: tapeView},
};
