// Find what a person cannot operate: focus that is out of order, invisible or covered, states that vanish in forced
// colors, and targets that are too small for a finger. Returns sentences, each with a selector that a person can find.
(() => {
  const name = (element) => {
    const css = [...element.classList].slice(0, 3).map((one) => `.${one}`).join("");
    const words = (element.getAttribute("aria-label") || element.textContent || element.name || "").trim().replace(/\s+/g, " ").slice(0, 28);
    return `${element.localName}${element.id ? `#${element.id}` : ""}${css}${words ? ` "${words}"` : ""}`;
  };
  const isShown = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true, contentVisibilityAuto: true }) && element.getClientRects().length > 0;
  const isTiny = (box) => box.width < 3 || box.height < 3;
  const root = () => document.querySelector("dialog:modal") || document.body;
  const layer = (element) => {
    for (let one = element; one && one !== document.body; one = one.parentElement) {
      if (["absolute", "fixed", "sticky"].includes(getComputedStyle(one).position)) return one;
    }
    return document.body;
  };
  const scroller = (element) => {
    for (let one = element.parentElement; one; one = one.parentElement) {
      if (["auto", "scroll"].includes(getComputedStyle(one).overflowY) && one.scrollHeight > one.clientHeight) return one;
    }
    return document.documentElement;
  };
  const CONTROL = "a[href], button, input:not([type=hidden]), select, textarea, summary";

  // What a sighted person sees of a control and of what surrounds it.
  const see = (element) => {
    const around = [element, element.parentElement, element.parentElement?.parentElement, element.closest("label"), element.nextElementSibling];
    return around.filter(Boolean).map((one) => {
      const css = getComputedStyle(one);
      return [css.outlineStyle, css.outlineWidth, css.outlineColor, css.borderColor, css.boxShadow, css.backgroundColor, css.textDecorationLine, css.opacity].join();
    }).join("|");
  };

  window.findFocusFaults = async () => {
    const faults = new Set();
    const stops = [...root().querySelectorAll(`${CONTROL}, [tabindex]`)].filter(
      (one) => !one.disabled && one.tabIndex >= 0 && isShown(one) && !one.closest("[inert]") && !(one.type === "radio" && !one.checked),
    );
    let last = null;
    for (const stop of stops) {
      if (stop.tabIndex > 0) faults.add(`${name(stop)}: has a tab index of its own`);
      if (stop.closest("#toasts")) continue; // they come last, wherever there is room for them
      const box = stop.getBoundingClientRect();
      if (isTiny(box) || getComputedStyle(stop).display === "inline") continue;
      if (last && last.layer === layer(stop) && scroller(last.stop) === scroller(stop) && last.stop.closest(".rail") === stop.closest(".rail")) {
        const width = Math.min(box.right, last.box.right) - Math.max(box.left, last.box.left);
        const height = Math.min(box.bottom, last.box.bottom) - Math.max(box.top, last.box.top);
        const isAbove = width > Math.min(box.width, last.box.width) / 2 && box.bottom <= last.box.top + 2;
        const isBefore = height > Math.min(box.height, last.box.height) / 2 && box.right <= last.box.left + 2;
        if (isAbove || isBefore) faults.add(`${name(stop)}: gets the focus after ${name(last.stop)}, but is ${isAbove ? "above" : "before"} it`);
      }
      last = { stop, box, layer: layer(stop) };
    }
    for (const stop of stops) {
      if (!stop.isConnected || !isShown(stop)) continue; // a menu that closes when it loses the focus
      document.activeElement?.blur();
      const before = see(stop);
      stop.focus();
      if (document.activeElement !== stop) continue;
      if (see(stop) === before) faults.add(`${name(stop)}: shows no focus`);
      const box = stop.getClientRects()[0];
      if (!box || isTiny(box)) continue;
      const clip = scroller(stop) === document.documentElement ? { left: 0, top: 0, right: innerWidth, bottom: innerHeight } : scroller(stop).getBoundingClientRect();
      const [x, y] = [(Math.max(box.left, clip.left) + Math.min(box.right, clip.right)) / 2, (Math.max(box.top, clip.top) + Math.min(box.bottom, clip.bottom)) / 2];
      if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) { faults.add(`${name(stop)}: is outside the window when it has the focus`); continue; }
      let top = document.elementFromPoint(x, y);
      if (top && top !== stop && !stop.contains(top)) { // what follows the scrolling is drawn in the next frame
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30)));
        top = document.elementFromPoint(x, y);
      }
      if (top?.closest("details[open] .menu-panel")) continue; // Tab closes it (menus.js), this script does not press Tab
      if (top && top !== stop && !stop.contains(top) && !top.contains(stop) && !stop.closest("label")?.contains(top) && getComputedStyle(stop).display !== "inline") {
        faults.add(`${name(stop)}: is covered by ${name(top)} when it has the focus`);
      }
    }
    document.activeElement?.blur();
    return [...faults];
  };

  // Empty elements whose background says something: a dot, a bar. Call before forced colors are emulated.
  let signs = [];
  window.rememberSigns = () => {
    signs = [...root().querySelectorAll("*")].filter((one) => {
      if (one.childNodes.length || !isShown(one) || one.closest("svg, [aria-hidden] .messages, input, textarea, progress, audio, video, img, iframe, canvas")) return false;
      const css = getComputedStyle(one);
      return !isTiny(one.getBoundingClientRect()) && css.backgroundColor !== "rgba(0, 0, 0, 0)";
    });
  };
  window.findForcedColorFaults = () => {
    const faults = new Set();
    for (const sign of signs) {
      const css = getComputedStyle(sign);
      if (sign.localName !== "input" && css.forcedColorAdjust === "auto" && parseFloat(css.borderTopWidth) === 0 && css.outlineStyle === "none" && isShown(sign)) faults.add(`${name(sign)}: is invisible in forced colors`);
    }
    const looks = (one) => {
      const css = getComputedStyle(one);
      return [css.borderWidth, css.borderColor, css.outlineStyle, css.backgroundColor, css.color, css.textDecorationLine, css.fontWeight].join();
    };
    const CHOSEN = '[aria-current]:not([aria-current="false"]), [aria-pressed="true"], [aria-selected="true"]';
    for (const one of root().querySelectorAll(CHOSEN)) {
      if (!isShown(one)) continue;
      const siblings = [...(one.closest("ul, ol, nav, form, div")?.querySelectorAll(one.localName) ?? [])];
      const other = siblings.find((two) => two !== one && two.className === one.className && isShown(two) && !two.matches(CHOSEN));
      if (other && looks(one) === looks(other)) faults.add(`${name(one)}: does not look chosen in forced colors`);
    }
    return [...faults];
  };

  // On a phone: 44 px in height and width, alone or with the label around it. Links within a text are exempt (WCAG 2.5.8).
  window.findTargetFaults = () => {
    const faults = new Set();
    for (const control of root().querySelectorAll(CONTROL)) {
      if (!isShown(control) || control.disabled) continue;
      const css = getComputedStyle(control);
      if (css.display === "inline" || control.closest("[data-may-be-small], .unseen, .skip")) continue;
      const label = control.labels?.[0] ?? control.closest("td.pick");
      const boxes = [control, label].filter(Boolean).map((one) => one.getBoundingClientRect());
      if (isTiny(boxes[0])) continue;
      const pseudo = ["::before", "::after"].map((part) => getComputedStyle(control, part)).filter((one) => one.content !== "none" && one.position === "absolute");
      const height = Math.max(...boxes.map((box) => box.height), ...pseudo.map((one) => parseFloat(one.height) || 0));
      const width = Math.max(...boxes.map((box) => box.width), ...pseudo.map((one) => parseFloat(one.width) || 0));
      if (height < 43.5 || width < 43.5) faults.add(`${name(control)}: only ${Math.round(width)}×${Math.round(height)} for a finger`);
    }
    return [...faults];
  };
})();
