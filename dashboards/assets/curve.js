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
export function render({model}) {
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
