// Find layout faults of the page in its current state: elements that leave their parent, are clipped, cover each other,
// or are narrower than their minimum. Returns sentences, each with a selector that a person can find.
// Elements that may be cut have the class "cut", text-overflow, a line clamp, or are areas that scroll.
window.findLayoutFaults = () => {
  const SLACK = 1.5; // CSS pixels: fractions and antialiasing
  const faults = new Set();
  const CONTROL = "a[href], button, input:not([type=hidden]), select, textarea, summary";
  const name = (element) => {
    const css = [...element.classList].slice(0, 3).map((one) => `.${one}`).join("");
    const words = (element.getAttribute("aria-label") || element.textContent || element.name || "").trim().replace(/\s+/g, " ").slice(0, 28);
    return `${element.localName}${element.id ? `#${element.id}` : ""}${css}${words ? ` "${words}"` : ""}`;
  };
  const report = (element, what) => {
    const parent = element.parentElement;
    faults.add(`${name(element)} in ${parent.localName}${[...parent.classList].slice(0, 2).map((one) => `.${one}`).join("")}: ${what}`);
  };
  const styles = new Map();
  const style = (element) => {
    if (!styles.has(element)) styles.set(element, getComputedStyle(element));
    return styles.get(element);
  };
  const isCut = (element) =>
    element.closest("[data-may-be-cut]") || style(element).textOverflow === "ellipsis" || style(element).webkitLineClamp !== "none";
  const scrolls = (value) => value === "auto" || value === "scroll";
  const isSeen = (element) => {
    if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) return false;
    for (let one = element; one; one = one.parentElement) {
      if (style(one).clipPath !== "none" || one.classList.contains("skip")) return false;
    }
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1;
  };
  const layer = (element) => {
    for (let one = element; one && one !== document.body; one = one.parentElement) {
      if (["absolute", "fixed", "sticky"].includes(style(one).position)) return one;
    }
    return document.body;
  };

  // The part of an element that its scrolling ancestors show.
  const visibleBox = (element) => {
    let { left, top, right, bottom } = element.getBoundingClientRect();
    for (let one = element.parentElement; one && one !== document.body; one = one.parentElement) {
      if (style(one).overflowX === "visible" && style(one).overflowY === "visible") continue;
      const clip = one.getBoundingClientRect();
      [left, top] = [Math.max(left, clip.left), Math.max(top, clip.top)];
      [right, bottom] = [Math.min(right, clip.right), Math.min(bottom, clip.bottom)];
    }
    return { left, top, right, bottom };
  };

  const root = document.documentElement;
  if (root.scrollWidth > innerWidth + 1) faults.add(`page: ${root.scrollWidth - innerWidth} px wider than the window`);

  const seen = [...document.body.querySelectorAll("*")].filter((one) => !one.closest("svg, [hidden], option, script, template") && isSeen(one));
  const controls = [];
  for (const element of seen) {
    const own = style(element);
    const box = element.getBoundingClientRect();
    // 1. It leaves its parent.
    const parent = element.parentElement;
    if (!["absolute", "fixed"].includes(own.position) && own.display !== "contents" && parent !== document.documentElement) {
      let around = parent;
      while (around !== document.body && (style(around).display === "inline" || style(around).display === "contents")) around = around.parentElement;
      const outer = around.getBoundingClientRect();
      const open = !scrolls(style(around).overflowX) && style(around).overflowX !== "hidden";
      if (open && around.clientWidth && own.display !== "inline") {
        const by = Math.max(box.right - outer.right, outer.left - box.left);
        if (by > SLACK && Math.max(-parseFloat(own.marginRight) || 0, -parseFloat(own.marginLeft) || 0) < by) report(element, `leaves it by ${Math.round(by)} px`);
      }
    }
    // 2. Its content is cut, or scrolls sideways.
    const wide = element.scrollWidth - element.clientWidth;
    const tall = element.scrollHeight - element.clientHeight;
    if (element.clientWidth && wide > SLACK && !isCut(element) && !element.matches("input, select")) {
      if (own.overflowX === "hidden" || own.overflowX === "clip") report(element, `cuts ${wide} px of its content`);
      else if (scrolls(own.overflowX) && !element.closest("[data-scrolls-sideways], pre, textarea, .offers, .wa-cards, input, select")) report(element, `scrolls sideways by ${wide} px`);
    }
    if (element.clientHeight && tall > 3 && own.overflowY === "hidden" && !isCut(element) && !["TEXTAREA", "INPUT", "SELECT", "HTML", "BODY"].includes(element.tagName)) {
      report(element, `cuts ${tall} px of its height`);
    }
    // 3. Its own text leaves it.
    if (own.display !== "inline" && own.overflowX === "visible" && [...element.childNodes].some((one) => one.nodeType === 3 && one.data.trim())) {
      const range = document.createRange();
      for (const text of element.childNodes) {
        if (text.nodeType !== 3 || !text.data.trim()) continue;
        range.selectNodeContents(text);
        const words = range.getBoundingClientRect();
        const by = Math.max(words.right - box.right, box.left - words.left);
        // A space at the end of a line hangs over where spaces are kept.
        if (by > (own.whiteSpace.startsWith("pre") ? 8 : SLACK)) report(element, `its text leaves it by ${Math.round(by)} px`);
      }
    }
    // 4. Minimum widths.
    if (element.matches("input:not([type=checkbox], [type=radio], [type=file], [type=number], [type=color], [type=range]), textarea") && box.width < 120) report(element, `only ${Math.round(box.width)} px wide`);
    if (element.matches("select") && box.width < 84) report(element, `only ${Math.round(box.width)} px wide`);
    if (element.matches(CONTROL)) controls.push([element, visibleBox(element), own]);
  }
  // 5. Controls do not overlap, and nothing covers them.
  for (let i = 0; i < controls.length; i++) {
    const [first, a] = controls[i];
    for (let j = i + 1; j < controls.length; j++) {
      const [second, b] = controls[j];
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (width < 3 || height < 3 || first.contains(second) || second.contains(first)) continue;
      if (layer(first) !== layer(second)) continue;
      if (style(first).display === "inline" || style(second).display === "inline") continue;
      report(first, `overlaps ${name(second)}`);
    }
    const x = (a.left + a.right) / 2;
    const y = (a.top + a.bottom) / 2;
    if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight || controls[i][2].display === "inline") continue;
    const top = a.right - a.left > 3 && a.bottom - a.top > 3 && document.elementFromPoint(x, y);
    if (top && top !== first && !first.contains(top) && !top.contains(first) && !first.closest("label")?.contains(top)) {
      const over = layer(top);
      if (over.matches(".menu-panel, [popover], dialog, [data-may-cover], .client") && over !== layer(first)) continue;
      if (style(over).position === "sticky" && over !== layer(first)) continue;
      if (first.closest("tr") && top.closest("tr") === first.closest("tr")) continue;
      report(first, `is covered by ${name(top)}`);
    }
  }
  return [...faults];
};
