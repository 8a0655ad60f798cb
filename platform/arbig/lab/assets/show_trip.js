// A row of the table was clicked: its chart shows the round trip with air on both sides.
const row = source.selected.indices[0];
if (row !== undefined) {
  const {contract, first_row, last_row} = source.data, span = spans.get ? spans.get(contract[row]) : spans[contract[row]];
  if (span !== undefined) {
    const first = first_row[row], last = last_row[row], [least, most] = span.bounds ?? [-Infinity, Infinity];
    const air = Math.max((last - first) * 0.8, 40);
    span.setv({start: Math.max(first - air, least), end: Math.min(last + air, most)});
  }
}
