#include "reports/html/page.hpp"

namespace squall {

// After a change the policy's hash is wrong, and the browser test prints the right one as Chromium computes
// it.
const std::string_view page_script = R"js(
(() => {
  const svg = document.getElementById('timeline'), holder = document.getElementById('timeline-data');
  if (!svg || !holder) return;
  const data = JSON.parse(holder.textContent), cursor = document.getElementById('cursor'), readout = document.getElementById('readout');
  const ms = v => v === null || v === undefined ? 'no answer' : v >= 1000 ? (v / 1000).toFixed(1) + ' s' : v >= 10 ? v.toFixed(0) + ' ms' : v.toFixed(1) + ' ms';
  let at = data.from;
  const show = s => {
    at = Math.min(data.to, Math.max(data.from, s));
    const x = data.left + (at - data.from) / (data.to - data.from) * (data.right - data.left);
    cursor.setAttribute('x1', x); cursor.setAttribute('x2', x); cursor.setAttribute('visibility', 'visible');
    const slice = Math.floor((at - data.from) / data.slice);
    readout.replaceChildren();
    const line = (text, tag) => { const e = document.createElement(tag || 'div'); e.textContent = text; readout.append(e); };
    line((at < 0 ? '−' : '+') + Math.abs(at).toFixed(1) + ' s', 'b');
    for (const service of data.services) {
      if (!service.probes[slice]) continue;
      const failed = service.failed[slice] ? ', ' + service.failed[slice] + ' of ' + service.probes[slice] + ' failed' : '';
      line(service.name + ': ' + ms(service.p50[slice]) + ', slowest ' + ms(service.slowest[slice]) + failed);
    }
    for (const alert of data.alerts) for (const [from, to, state] of alert.spans) if (at >= from && at < to) line(alert.name + ': ' + state);
    readout.hidden = false;
    const box = svg.getBoundingClientRect(), figure = readout.parentElement.getBoundingClientRect();
    const px = box.left - figure.left + x / data.width * box.width, room = figure.width - readout.offsetWidth - 8;
    readout.style.left = Math.max(0, px + 14 > room ? px - readout.offsetWidth - 14 : px + 14) + 'px';
  };
  const hide = () => { readout.hidden = true; cursor.setAttribute('visibility', 'hidden'); };
  svg.addEventListener('pointermove', e => {
    const box = svg.getBoundingClientRect(), x = (e.clientX - box.left) / box.width * data.width;
    if (x < data.left - 4 || x > data.right + 4) return hide();
    show(data.from + (x - data.left) / (data.right - data.left) * (data.to - data.from));
  });
  svg.addEventListener('pointerleave', hide);
  svg.setAttribute('tabindex', '0');
  svg.addEventListener('blur', hide);
  svg.addEventListener('keydown', e => {
    const step = { ArrowLeft: -data.slice, ArrowRight: data.slice }[e.key];
    if (e.key === 'Escape') return hide();
    if (!step) return;
    e.preventDefault();
    show((readout.hidden ? 0 : at) + step);
  });
})();
)js";

const std::string_view page_policy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src "
    "'sha256-6kXt3aQxI9QnLitwVwRBqHZlhrArMmovD92+7jNc9HI='; base-uri 'none'; form-action 'none'";

}  // namespace squall
