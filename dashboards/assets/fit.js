// The vertical range of what is in view: prices with a little air above, volumes at the foot.
tag.x = span.end;
let top = -Infinity, bottom = Infinity, most = 0;
for (const {data: {i, high, low, volume}} of [now, past]) {
  if (i === undefined) continue;
  for (let n = 0; n < i.length; n++) {
    if (i[n] < span.start - 0.5 || i[n] > span.end + 0.5) continue;
    if (high[n] > top) top = high[n];
    if (low[n] < bottom) bottom = low[n];
    if (volume[n] > most) most = volume[n];
  }
}
if (top >= bottom) {
  const air = Math.max((top - bottom) * 0.06, top * 0.0001), height = top - bottom + 2 * air;
  prices.setv({start: bottom - air - height * room / (1 - room), end: top + air}, {sync: false});
  volumes.setv({start: 0, end: Math.max(most * 1.1, 1) / room}, {sync: false});
}
