'use strict';
const $ = id => document.getElementById(id);
const clock = s => `${Math.floor(s / 3600)}:${String(Math.floor(s / 60) % 60).padStart(2, '0')}:${String(s % 60).padStart(2, '0')}`;
const decimals = { pressure_bar: 0, clamp_kn: 0, hopper_percent: 0, screw_mm: 0, last_cycle_s: 1 };

function show(v) {
  $('state').textContent = v.state;
  $('state').dataset.is = v.state;
  for (const e of document.querySelectorAll('[data-v]')) {
    const k = e.dataset.v, x = v[k];
    e.textContent = k in decimals ? x.toFixed(decimals[k]) : typeof x === 'number' ? x.toLocaleString('en') : x;
  }
  for (const e of document.querySelectorAll('[data-clock]')) e.textContent = clock(v[e.dataset.clock]);
  for (const e of document.querySelectorAll('[data-arc]'))
    arc(e, 100 * Math.min(1, v[e.dataset.arc] / e.dataset.full));
  for (const e of document.querySelectorAll('[data-valve]')) e.textContent = v.cooling_valve_open ? 'open' : 'closed';
  if ($('zones')) zones(v.zones);
  if ($('alarms')) alarms(v.alarms);
  if ($('press')) press(v);
  if ($('trend')) { trend.push(v.pressure_bar); if (trend.length > 300) trend.shift(); plot(); }
}

function arc(e, percent) {
  e.style.strokeDashoffset = 100 - percent;
  // The round end of an empty arc would still be a dot.
  e.style.visibility = percent < 0.5 ? 'hidden' : 'visible';
}

function zones(list) {
  const at = $('zones');
  if (!at.children.length) at.innerHTML = list.map(() => '<div class="zone"><span></span><div class="bar"><i></i><u></u></div><b></b></div>').join('');
  list.forEach((z, n) => {
    const row = at.children[n], full = z.setpoint_celsius > 100 ? 300 : 100;
    row.classList.toggle('off', Math.abs(z.celsius - z.setpoint_celsius) > z.setpoint_celsius * 0.08);
    row.children[0].textContent = z.name;
    row.querySelector('i').style.width = `${100 * z.celsius / full}%`;
    row.querySelector('u').style.left = `${100 * z.setpoint_celsius / full}%`;
    row.children[2].textContent = `${z.celsius.toFixed(1)} \u00b0C`;
  });
}

function alarms(list) {
  const rows = list.map(a => `<div class="alarm ${a.severity}"><b>${a.code}</b><span>${a.text}</span></div>`).join('');
  const html = rows || '<p class="calm">No alarm is active.</p>';
  if ($('alarms').dataset.html !== html) { $('alarms').innerHTML = html; $('alarms').dataset.html = html; }
}

function press(v) {
  $('platen').style.transform = `translateX(${-0.72 * v.mould_open_percent}px)`;
  $('screw').style.transform = `translateX(${0.7 * v.screw_mm}px)`;
  $('melt').setAttribute('width', 14 + 0.7 * v.screw_mm);
  $('fill').setAttribute('height', 0.44 * v.hopper_percent);
  $('fill').setAttribute('y', 62 - 0.44 * v.hopper_percent);
  for (const li of document.querySelectorAll('.phases li')) {
    const on = v.state === 'running' && li.dataset.phase === v.phase;
    li.toggleAttribute('aria-current', on);
    li.querySelector('i').style.width = on ? `${v.phase_percent}%` : 0;
  }
}

function plot() {
  const c = $('trend'), r = devicePixelRatio || 1, w = c.clientWidth, h = c.clientHeight, g = c.getContext('2d');
  if (c.width !== w * r) { c.width = w * r; c.height = h * r; }
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name);
  g.setTransform(r, 0, 0, r, 0, 0);
  g.clearRect(0, 0, w, h);
  g.font = '11px system-ui'; g.fillStyle = colour('--muted'); g.strokeStyle = colour('--track'); g.lineWidth = 1;
  const y = bar => h - 8 - (h - 20) * bar / 1500, x = n => 38 + (w - 40) * (300 - trend.length + n) / 299;
  for (const bar of [0, 500, 1000, 1500]) {
    g.beginPath(); g.moveTo(38, y(bar)); g.lineTo(w, y(bar)); g.stroke();
    g.textAlign = 'right'; g.fillText(bar, 32, y(bar) + 4);
  }
  if (!trend.length) return;
  const path = () => { g.beginPath(); trend.forEach((bar, n) => n ? g.lineTo(x(n), y(bar)) : g.moveTo(x(0), y(bar))); };
  g.strokeStyle = g.fillStyle = colour('--teal'); g.lineWidth = 2; g.lineJoin = 'round';
  path(); g.stroke();
  g.lineTo(x(trend.length - 1), y(0)); g.lineTo(x(0), y(0)); g.globalAlpha = 0.12; g.fill(); g.globalAlpha = 1;
}

function connect(wait) {
  const socket = new WebSocket((location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/live');
  socket.onmessage = m => { wait = 500; $('link').className = 'link on'; $('link').textContent = 'live'; show(JSON.parse(m.data)); };
  socket.onclose = () => {
    $('link').className = 'link'; $('link').textContent = 'reconnecting';
    setTimeout(connect, wait, Math.min(wait * 2, 8000));
  };
}

$('theme').onclick = () => {
  const root = document.documentElement, now = root.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  localStorage.theme = root.dataset.theme = now === 'dark' ? 'light' : 'dark';
};
if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme;
show(first);
connect(500);
