// Where the time axis has its ticks, and what stands there. Bars have places; a tick stands at the first bar of an hour,
// a day, ... so that nights and breaks take no room.
const STEPS = [300, 600, 1800, 3600, 7200, 14400, 86400, 7 * 86400, 30 * 86400].map(seconds => seconds * 1000);
const timeOf = place => {
  const i = Math.round(place), rows = i < 0 ? past.data : now.data, at = i < 0 ? -i - 1 : i;
  return rows.time !== undefined && at < rows.time.length ? rows.time[at] : NaN;
};
function places(range) {
  const first = Math.ceil(range.start), last = Math.floor(range.end);
  for (const step of STEPS) {
    const found = [];
    for (let i = first; i <= last && found.length <= 9; i++) {
      const time = timeOf(i), before = timeOf(i - 1);
      if (time === time && before === before && Math.floor(time / step) !== Math.floor(before / step)) found.push(i);
    }
    if (found.length <= 9) return found;
  }
  return [];
}
const two = number => String(number).padStart(2, '0');
function label(tick, all) {
  const time = new Date(timeOf(tick));
  if (isNaN(time)) return '';
  const day = two(time.getUTCMonth() + 1) + '-' + two(time.getUTCDate());
  const clock = two(time.getUTCHours()) + ':' + two(time.getUTCMinutes());
  const span = all.length > 1 ? (timeOf(all[all.length - 1]) - timeOf(all[0])) / (all.length - 1) : 0;
  if (clock === '00:00' || span > 20 * 3600000) return day;
  const at = all.indexOf(tick), before = at > 0 ? new Date(timeOf(all[at - 1])) : null;
  return before && before.getUTCDate() !== time.getUTCDate() ? day + ' ' + clock : clock;
}
