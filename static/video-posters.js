// First frames of videos in the thread: <video-poster>, read when first seen, one at a time, and kept while the page lives.
(() => {
  const AT = 0.1; // second of the frame; the first one is often black
  const WIDTH = 640; // pixels of the copy
  const TIME_OUT = 15_000; // milliseconds for one video
  const frames = new Map(); // file → {canvas, duration} or null
  let reading = Promise.resolve();

  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  const readFrame = (href, mime) => new Promise((resolve) => {
    const video = document.createElement("video");
    if (mime && !video.canPlayType(mime)) { resolve(null); return; }
    const finish = (frame) => {
      clearTimeout(timer);
      video.removeAttribute("src");
      video.load();
      resolve(frame);
    };
    const timer = setTimeout(() => finish(null), TIME_OUT);
    const copy = () => {
      const { videoWidth: width, videoHeight: height, duration } = video, scale = Math.min(1, WIDTH / width);
      if (!width) { finish(null); return; }
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
      finish({ canvas, duration: Number.isFinite(duration) ? duration : 0 });
    };
    Object.assign(video, { muted: true, playsInline: true, preload: "auto" });
    video.addEventListener("seeked", copy, { once: true });
    video.addEventListener("error", () => finish(null), { once: true });
    video.src = `${href}#t=${AT}`;
    video.addEventListener("loadedmetadata", () => { video.currentTime = Math.min(AT, video.duration || AT); }, { once: true });
  });

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      const { file, href, mime } = target.dataset;
      if (frames.has(file) || navigator.connection?.saveData) continue;
      frames.set(file, null);
      reading = reading.then(() => readFrame(href, mime)).then((frame) => {
        frames.set(file, frame);
        for (const poster of document.querySelectorAll("video-poster")) if (poster.dataset.file === file) poster.draw();
      }, () => {});
    }
  });

  class VideoPoster extends HTMLElement {
    connectedCallback() {
      if (frames.get(this.dataset.file)) this.draw();
      else seen.observe(this);
    }

    disconnectedCallback() { seen.unobserve(this); }

    draw() {
      const frame = frames.get(this.dataset.file);
      if (!frame) return;
      const canvas = document.createElement("canvas"), length = document.createElement("span");
      [canvas.width, canvas.height] = [frame.canvas.width, frame.canvas.height];
      canvas.getContext("2d").drawImage(frame.canvas, 0, 0);
      length.textContent = frame.duration ? clock(frame.duration) : "";
      this.replaceChildren(canvas, length);
      this.classList.add("drawn");
    }
  }
  customElements.define("video-poster", VideoPoster);
})();
