// Candles for what is in view: single bars when near, groups of bars from afar. Every bar came packed (downsampling.py).
// Runs when the view moves and once when the chart has its size; draws at most once a frame.
const MOST_MARKS = 400;
const MOST_LINKS = 250;
const MOST_TICKS = Math.max(3, Math.min(12, Math.floor((plot.inner_width || 900) / 90)));
const kept = (globalThis.arbigCandles ??= new WeakMap());

async function unpack({count, step, first_time, first_day, bytes}) {
  const text = atob(bytes), raw = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n++) raw[n] = text.charCodeAt(n);
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream('deflate'));
  const plain = new Uint8Array(await new Response(stream).arrayBuffer());
  const column = (number) => {
    const at = 4 * count * number, values = new Int32Array(count);
    for (let n = 0; n < count; n++) {
      const folded = plain[at + n] | plain[at + count + n] << 8 | plain[at + 2 * count + n] << 16 | plain[at + 3 * count + n] << 24;
      values[n] = (folded >>> 1) ^ -(folded & 1);
    }
    return values;
  };
  const [time, day, close, open, high, low, volume] = [0, 1, 2, 3, 4, 5, 6].map(column);
  let seconds = first_time, days = first_day, before = 0;
  for (let n = 0; n < count; n++) {
    seconds += time[n]; time[n] = seconds;
    days += day[n]; day[n] = days;
    const now = before + close[n], opened = before + open[n];
    high[n] += Math.max(now, opened);
    low[n] = Math.min(now, opened) - low[n];
    close[n] = now; open[n] = opened; before = now;
  }
  return {count, step, time, day, open, high, low, close, volume};
}

function grouped(bars, first, last, size) {
  const {count, step, time, day, open, high, low, close, volume} = bars;
  const names = ['i', 'start', 'count', 'time', 'day', 'open', 'high', 'low', 'close', 'volume', 'middle', 'body', 'half', 'width', 'color', 'label'];
  const data = Object.fromEntries(names.map((name) => [name, []]));
  const price = (ticks) => Math.round(ticks * step * 1e6) / 1e6;
  for (let at = first - first % size; at <= last; at += size) {
    const end = Math.min(at + size, count);
    let top = high[at], bottom = low[at], lots = 0;
    for (let n = at; n < end; n++) {
      if (high[n] > top) top = high[n];
      if (low[n] < bottom) bottom = low[n];
      lots += volume[n];
    }
    const opened = price(open[at]), closed = price(close[end - 1]);
    const row = {
      i: (at + end - 1) / 2, start: at, count: end - at, time: time[at], day: day[at], open: opened, close: closed,
      high: price(top), low: price(bottom), volume: lots, middle: (opened + closed) / 2, body: Math.max(Math.abs(closed - opened), step * 0.1),
      half: lots / 2, width: 0.7 * (end - at), color: closed >= opened ? colors[0] : colors[1], label: moment(time[at]),
    };
    for (const name of names) data[name].push(row[name]);
  }
  return data;
}

const two = (number) => String(number).padStart(2, '0');
const date = (day) => new Date(day * 86400000).toISOString().slice(0, 10);
function moment(seconds) {
  const at = new Date(seconds * 1000);
  return `${at.toISOString().slice(0, 10)} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
}

// Trading days begin a tick; within a day or two, round times do. Closed hours have no width, so nothing else would be even.
function ticks(data, from, to) {
  const seen = data.i.map((_, n) => n).filter((n) => data.start[n] >= from && data.start[n] <= to);
  const days = seen.filter((n) => n > 0 && data.day[n] !== data.day[n - 1]);
  if (days.length > 2) {
    const every = Math.ceil(days.length / MOST_TICKS);
    return days.filter((_, n) => n % every === 0).map((n) => [data.start[n], date(data.day[n])]);
  }
  for (const minutes of [1, 2, 5, 10, 15, 30, 60, 120]) {
    const places = seen.filter((n) => n > 0 && Math.floor(data.time[n] / 60 / minutes) !== Math.floor(data.time[n - 1] / 60 / minutes));
    if (places.length <= MOST_TICKS) return places.map((n) => [data.start[n], moment(data.time[n]).slice(5)]);
  }
  return days.map((n) => [data.start[n], date(data.day[n])]);
}

function rows(all, chosen) {
  return Object.fromEntries(Object.entries(all.data).map(([name, values]) => [name, chosen.map((n) => values[n])]));
}

function marks_in_view(from, to, size) {
  const seen = [], taken = new Set(), {i, side} = all_marks.data;
  for (let n = 0; n < i.length; n++) if (i[n] >= from - 1 && i[n] <= to + 1) seen.push(n);
  if (seen.length <= MOST_MARKS) return seen;
  return seen.filter((n) => {
    const key = `${Math.floor(i[n] / size)} ${side[n]}`;
    return !taken.has(key) && taken.add(key);
  });
}

function draw(bars) {
  const from = Math.max(Math.floor(span.start), 0), to = Math.min(Math.ceil(span.end), bars.count - 1);
  if (to < from) return;
  let size = 1;
  while (to - from + 1 > most * size) size *= 2;
  const data = grouped(bars, from, to, size);
  const top = Math.max(...data.high), bottom = Math.min(...data.low);
  const air = Math.max((top - bottom) * 0.06, Math.abs(top) * 0.0001);
  const places = ticks(data, from, to);
  axis.ticker.ticks = places.map(([place]) => place);
  axis.major_label_overrides = new Map(places);
  source.data = data;
  prices.setv({start: bottom - air, end: top + air});
  volumes.setv({start: 0, end: Math.max(...data.volume, 1) * 1.1});
  const seen = marks_in_view(from, to, size), mark = seen.length > 150 ? 5 : seen.length > 60 ? 8 : 11;
  marks.data = {...rows(all_marks, seen), size: seen.map(() => mark), halo: seen.map(() => mark + 4)};
  const {x0, x1} = all_links.data, crossing = [];
  for (let n = 0; n < x0.length; n++) if (x0[n] <= to && x1[n] >= from) crossing.push(n);
  links.data = rows(all_links, crossing.length <= MOST_LINKS ? crossing : []);
  const zoom = size === 1 ? '' : `1 candle = ${size} bars (zoom in for single bars)   每根K线合并${size}根，放大可见单根`;
  if (note.text !== zoom) note.text = zoom;
}

let state = kept.get(source);
if (state === undefined) {
  state = {due: false, bars: null};
  kept.set(source, state);
  unpack(packed).then((bars) => { state.bars = bars; draw(bars); });
}
if (state.bars !== null && !state.due) {
  state.due = true;
  requestAnimationFrame(() => { state.due = false; draw(state.bars); });
}
