export function render({model}) {
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
