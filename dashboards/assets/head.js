export function render({model}) {
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
