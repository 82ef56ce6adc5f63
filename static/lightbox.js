// Full view of a chat's pictures, videos and PDFs: arrows, zoom, captions. The dialog is outside the thread, so that a
// redrawn message does not close it. What is shown is found in the thread again at each step.
(() => {
  const dialog = document.getElementById("lightbox");
  if (!dialog) return;
  const MAX_SCALE = 8, STEP = 1.5;
  const SWIPE = 60; // pixels
  const find = (selector) => dialog.querySelector(selector);
  const stage = find("[data-stage]");
  const links = () => [...document.querySelectorAll("#messages a[data-media]")];
  let shown = null; // file
  let scale = 1, x = 0, y = 0; // of the picture
  let pdf = null; // the PDF that is shown
  let cleanUp = null; // ends what a file of this kind holds

  const indexOf = (all) => all.findIndex((link) => link.dataset.file === shown);
  const picture = () => stage.querySelector("img");

  // --- one file -----------------------------------------------------------------------------------------------------------
  const show = (link) => {
    const all = links(), index = all.indexOf(link), message = link.closest(".msg");
    cleanUp?.();
    cleanUp = null;
    shown = link.dataset.file;
    stage.replaceChildren();
    dialog.dataset.kind = link.dataset.media;
    find("#lightbox-name").textContent = link.dataset.name;
    find("[data-who]").textContent = [
      message.querySelector(".bubble > .unseen")?.textContent.replace(/:$/, ""),
      message.querySelector(".meta time")?.textContent,
    ].filter(Boolean).join(" · ");
    const caption = message.querySelector(".bubble > .text")?.textContent.trim() || "";
    find("[data-caption]").textContent = caption;
    find("[data-caption]").hidden = !caption;
    find("[data-count]").textContent = dialog.dataset.counter.replace("{n}", index + 1).replace("{total}", all.length);
    find("[data-count]").hidden = all.length < 2;
    find("[data-download]").href = link.href;
    find("[data-download]").download = link.dataset.name;
    for (const button of dialog.querySelectorAll("[data-step]")) button.disabled = !all[index + Number(button.dataset.step)];
    ({ picture: showPicture, video: showVideo, pdf: showPdf })[link.dataset.media](link);
    for (const near of [all[index - 1], all[index + 1]]) if (near?.dataset.media === "picture") new Image().src = near.href;
  };

  const say = (words) => {
    const sentence = document.createElement("p");
    sentence.className = "lightbox-sentence";
    sentence.setAttribute("role", "status");
    sentence.textContent = words;
    stage.replaceChildren(sentence);
  };
  const showPicture = (link) => {
    const image = document.createElement("img");
    image.alt = link.dataset.name;
    image.draggable = false;
    image.addEventListener("error", () => say(dialog.dataset.notShown));
    image.src = link.href;
    stage.append(image);
    zoomTo(1);
  };
  const showVideo = (link) => {
    const video = document.createElement("video");
    if (link.dataset.mime && !video.canPlayType(link.dataset.mime)) { say(dialog.dataset.videoUnplayable); return; }
    Object.assign(video, { controls: true, playsInline: true, autoplay: true, src: link.href });
    video.setAttribute("aria-label", link.dataset.name);
    video.addEventListener("error", () => { if (video.isConnected) say(dialog.dataset.videoUnplayable); });
    okno.voice?.pause();
    stage.append(video);
    cleanUp = () => { video.pause(); video.removeAttribute("src"); video.load(); };
  };
  const showPdf = (link) => {
    say(dialog.dataset.loading);
    setZoomButtons(true, true);
    pdf = okno.pdf.show(link.href, stage, { label: dialog.dataset.page, onFailure: () => say(dialog.dataset.notShown) });
    cleanUp = () => { pdf.end(); pdf = null; };
  };

  const step = (by) => {
    const all = links(), index = indexOf(all), next = all[index + by];
    if (index === -1) dialog.close(); // its message is gone
    else if (next) show(next);
  };

  // --- zoom -----------------------------------------------------------------------------------------------------------------
  const place = () => {
    if (!picture()) return;
    const spare = (size, room) => Math.max(0, (size * scale - room) / 2);
    const limits = [spare(picture().clientWidth, stage.clientWidth), spare(picture().clientHeight, stage.clientHeight)];
    x = Math.max(-limits[0], Math.min(limits[0], x));
    y = Math.max(-limits[1], Math.min(limits[1], y));
    picture().style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    stage.classList.toggle("zoomed", scale > 1);
  };
  // Keep the point under `at` (from the middle of the stage) where it is.
  const zoomTo = (wanted, at = { x: 0, y: 0 }) => {
    const next = Math.max(1, Math.min(MAX_SCALE, wanted)), ratio = next / scale;
    x = next === 1 ? 0 : at.x - (at.x - x) * ratio;
    y = next === 1 ? 0 : at.y - (at.y - y) * ratio;
    scale = next;
    place();
    setZoomButtons(scale > 1, scale < MAX_SCALE);
  };
  const setZoomButtons = (out, into) => {
    find('[data-zoom="out"]').disabled = !out;
    find('[data-zoom="in"]').disabled = !into;
  };
  // `factor` 0: back to the whole picture, or to the width of the page.
  const zoomBy = (factor) => {
    if (pdf) pdf.zoom(factor);
    else if (picture()) zoomTo(scale * factor);
  };
  const fromMiddle = ({ clientX, clientY }) => {
    const box = stage.getBoundingClientRect();
    return { x: clientX - box.left - box.width / 2, y: clientY - box.top - box.height / 2 };
  };
  stage.addEventListener("wheel", (event) => {
    if (!picture()) return;
    event.preventDefault();
    zoomTo(scale * Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), fromMiddle(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => { if (picture()) zoomTo(scale > 1 ? 1 : 2.5, fromMiddle(event)); });

  // --- pointers: drag, pinch, swipe ---------------------------------------------------------------------------------------
  const pointers = new Map();
  let start = null; // where one pointer went down, and when it began to count as a swipe
  let hasMoved = false;
  const spread = () => {
    const [one, other] = [...pointers.values()];
    return { size: Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1,
      at: fromMiddle({ clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2 }) };
  };
  stage.addEventListener("pointerdown", (event) => {
    if (!picture()) return;
    if (event.target === picture()) stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
    start = pointers.size === 1 ? event : null;
    hasMoved = false;
  });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const old = pointers.size === 2 ? spread() : null;
    pointers.set(event.pointerId, event);
    if (start && Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) > 5) hasMoved = true;
    if (old) {
      const next = spread();
      x += next.at.x - old.at.x;
      y += next.at.y - old.at.y;
      zoomTo((scale * next.size) / old.size, next.at);
    } else if (scale > 1) {
      x += event.clientX - before.clientX;
      y += event.clientY - before.clientY;
      place();
    }
  });
  const release = (event) => {
    pointers.delete(event.pointerId);
    if (!start || event.type !== "pointerup" || scale > 1) return;
    const right = event.clientX - start.clientX, down = event.clientY - start.clientY;
    if (Math.abs(right) > SWIPE && Math.abs(right) > 2 * Math.abs(down)) step(right > 0 ? -1 : 1);
    else if (event.pointerType === "touch" && down > 2 * SWIPE && down > 2 * Math.abs(right)) dialog.close();
    start = null;
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);

  // --- opening, keys, closing ---------------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("#messages a[data-media]");
    if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (link.dataset.media === "pdf" && !okno.pdf) return;
    event.preventDefault();
    link.focus({ preventScroll: true });
    dialog.showModal();
    show(link);
    stage.focus();
  });
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.step) step(Number(button.dataset.step));
    else if (button?.dataset.zoom) zoomBy(button.dataset.zoom === "in" ? STEP : 1 / STEP);
    else if (button && "close" in button.dataset) dialog.close();
    else if (event.target === stage && !hasMoved && dialog.dataset.kind === "picture") dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation(); // not the keys of the desk
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isVideo = event.target.closest?.("video");
    const keys = {
      ArrowLeft: () => step(-1), ArrowRight: () => step(1),
      Home: () => { if (links()[0]) show(links()[0]); }, End: () => { if (links().length) show(links().at(-1)); },
      "+": () => zoomBy(STEP), "=": () => zoomBy(STEP), "-": () => zoomBy(1 / STEP), 0: () => zoomBy(0),
    };
    if (!keys[event.key] || (isVideo && event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    keys[event.key]();
  });
  dialog.addEventListener("close", () => {
    cleanUp?.();
    cleanUp = null;
    stage.replaceChildren();
    pointers.clear();
    links().find((link) => link.dataset.file === shown)?.focus({ preventScroll: true });
    shown = null;
  });
  addEventListener("resize", () => { if (dialog.open) place(); });
  addEventListener("okno:chat-opened", () => { if (dialog.open && indexOf(links()) === -1) dialog.close(); });
})();
