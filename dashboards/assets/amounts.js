// The ticks of the vertical axis: prices where candles are, and of the volumes below them the largest round one.
const height = prices.end - prices.start, floor = prices.start + height * room;
const power = value => 10 ** Math.floor(Math.log10(value));
const atLeast = value => [1, 2, 5, 10].map(step => step * power(value)).find(step => step >= value);
const atMost = value => [5, 2, 1].map(step => step * power(value)).find(step => step <= value);
const volumeAt = tick => (tick - prices.start) / height * volumes.end;
function ticks() {
  const step = Math.max(atLeast((prices.end - floor) / 7), 10 ** -decimals), most = volumes.end * room * 0.9, found = [];
  for (let n = Math.ceil(floor / step); n * step < prices.end; n++) found.push(n * step);
  if (most >= 1) found.unshift(prices.start + atMost(most) / volumes.end * height);
  return found;
}
function label(tick) {
  if (tick >= floor) return tick.toFixed(decimals);
  const volume = Math.round(volumeAt(tick));
  return volume < 1e4 ? String(volume) : volume < 1e6 ? volume / 1e3 + 'k' : volume / 1e6 + 'm';
}
