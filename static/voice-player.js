// Player of voice messages and sound: <voice-player> in the thread. One sound plays at a time, by one audio element of the
// page, so it goes on when the thread redraws a message. It stops when its message leaves the page.
(() => {
  const RATES = [1, 1.5, 2];
  const RATE_KEY = "okno.voice-rate";
  const BARS = 40; // of the waveform
  const MAX_DECODED_BYTES = 400_000; // larger files have no waveform: decoding takes memory
  const STEP = 5; // seconds for each press of an arrow key
  const audio = new Audio();
  const shapes = new Map(); // file → {duration, peaks} or null
  const positions = new Map(); // file → second where it was paused
  let current = ""; // file that is loaded

  const readRate = () => {
    try { return Number(localStorage.getItem(RATE_KEY)) || 1; } catch { return 1; }
  };
  const storeRate = (rate) => { try { localStorage.setItem(RATE_KEY, rate); } catch { /* remembered until the page closes */ } };
  let rate = RATES.includes(readRate()) ? readRate() : 1;
  const clock = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds || 0)), pad = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    return minutes < 60 ? `${minutes}:${pad(whole % 60)}` : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(whole % 60)}`;
  };
  const players = () => [...document.querySelectorAll("voice-player")];
  const playersOf = (file) => players().filter((player) => player.dataset.file === file);
  const drawAll = (file) => { for (const player of playersOf(file)) player.draw(); };
  const durationOf = (file) => {
    const known = file === current && Number.isFinite(audio.duration) ? audio.duration : 0;
    return known || shapes.get(file)?.duration || 0;
  };

  // --- playing ------------------------------------------------------------------------------------------------------
  const load = (player) => {
    const { file, href } = player.dataset;
    if (current === file) return;
    stop();
    current = file;
    audio.src = href;
    audio.defaultPlaybackRate = audio.playbackRate = rate;
    audio.currentTime = positions.get(file) || 0;
  };
  const play = (player) => {
    load(player);
    audio.play().catch((problem) => { if (problem.name === "NotAllowedError") drawAll(current); });
  };
  const stop = () => {
    if (!current) return;
    const file = current;
    if (audio.currentTime && !audio.ended) positions.set(file, audio.currentTime);
    audio.pause();
    current = "";
    audio.removeAttribute("src");
    audio.load();
    drawAll(file);
  };
  const seek = (player, second) => {
    load(player);
    audio.currentTime = second;
    positions.set(player.dataset.file, second);
    drawAll(player.dataset.file);
  };
  const playNext = () => {
    const message = playersOf(current)[0]?.closest(".msg"), next = message?.nextElementSibling;
    const player = next?.dataset.side === message?.dataset.side ? next?.querySelector("voice-player:not(.failed)") : null;
    positions.delete(current);
    drawAll(current);
    if (player) play(player);
  };
  for (const name of ["play", "pause", "timeupdate", "durationchange", "seeked"]) audio.addEventListener(name, () => drawAll(current));
  audio.addEventListener("ended", playNext);
  audio.addEventListener("error", async () => {
    const file = current, { href } = playersOf(file)[0]?.dataset || {};
    if (!file || !audio.hasAttribute("src")) return;
    current = "";
    const isThere = href && await fetch(href, { method: "HEAD" }).then((answer) => answer.ok, () => false);
    for (const player of playersOf(file)) player.fail(isThere ? "unplayable" : "unavailable");
  });

  // --- length and waveform: read when a player is first seen ------------------------------------------------------------
  const readShape = async ({ href, size }) => {
    if (!size || Number(size) > MAX_DECODED_BYTES || navigator.connection?.saveData) return readDuration(href);
    const answer = await fetch(href);
    if (!answer.ok) return null;
    const decoded = await new OfflineAudioContext(1, 1, 8_000).decodeAudioData(await answer.arrayBuffer());
    const samples = decoded.getChannelData(0), width = Math.max(1, Math.floor(samples.length / BARS));
    const peaks = Array.from({ length: BARS }, (_, bar) => {
      let peak = 0;
      for (let at = bar * width; at < Math.min(samples.length, (bar + 1) * width); at += 4) peak = Math.max(peak, Math.abs(samples[at]));
      return peak;
    });
    const loudest = Math.max(...peaks) || 1;
    return { duration: decoded.duration, peaks: peaks.map((peak) => peak / loudest) };
  };
  const readDuration = (href) => new Promise((resolve) => {
    const probe = new Audio();
    const finish = (result) => { probe.removeAttribute("src"); resolve(result); };
    probe.preload = "metadata";
    probe.addEventListener("loadedmetadata", () => finish(Number.isFinite(probe.duration) ? { duration: probe.duration } : null), { once: true });
    probe.addEventListener("error", () => finish(null), { once: true });
    probe.src = href;
  });
  let reading = Promise.resolve(); // one file at a time
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      const { file } = target.dataset;
      if (shapes.has(file)) { target.draw(); continue; }
      shapes.set(file, null);
      reading = reading.then(() => readShape(target.dataset)).catch(() => readDuration(target.dataset.href))
        .then((shape) => { shapes.set(file, shape); drawAll(file); });
    }
  });

  // --- the element ------------------------------------------------------------------------------------------------------
  class VoicePlayer extends HTMLElement {
    connectedCallback() {
      const template = document.getElementById("voice-player");
      if (this.button) this.draw(); // a chat that was kept while another one was open
      if (!template || this.button) return;
      const { mime, name, href } = this.dataset;
      this.replaceChildren(template.content.cloneNode(true));
      const find = (selector) => this.querySelector(selector);
      [this.button, this.slider, this.time, this.speed, this.wave] =
        ["[data-play]", "input", ".voice-time", "[data-rate]", ".wave"].map(find);
      find("[data-download]").href = href;
      find("[data-download]").download = name;
      find("[data-download]").setAttribute("aria-label", `${find("[data-download]").dataset.words} ${name}`);
      for (let bar = 0; bar < BARS; bar += 1) this.wave.append(document.createElement("i"));
      this.button.addEventListener("click", () => {
        if (this.isPlaying()) audio.pause();
        else play(this);
      });
      this.slider.addEventListener("input", () => seek(this, Number(this.slider.value)));
      this.slider.addEventListener("keydown", (event) => {
        const steps = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP }[event.key];
        if (!steps) return;
        event.preventDefault();
        seek(this, Math.min(durationOf(this.dataset.file), Math.max(0, this.position() + steps)));
      });
      this.speed.addEventListener("click", () => {
        rate = RATES[(RATES.indexOf(rate) + 1) % RATES.length];
        audio.defaultPlaybackRate = audio.playbackRate = rate;
        storeRate(rate);
        for (const player of players()) player.draw();
      });
      if (mime && !audio.canPlayType(mime)) this.fail("unplayable");
      else seen.observe(this);
      this.draw();
    }

    disconnectedCallback() {
      seen.unobserve(this);
      const { file } = this.dataset; // a redrawn message is inserted again in the same task
      setTimeout(() => { if (file === current && !playersOf(file).length) stop(); });
    }

    isPlaying() { return this.dataset.file === current && !audio.paused && !audio.ended; }

    position() {
      const { file } = this.dataset;
      if (file !== current) return positions.get(file) || 0;
      return audio.ended ? 0 : audio.currentTime;
    }

    draw() {
      if (!this.button || this.classList.contains("failed")) return;
      const { file } = this.dataset, duration = durationOf(file), at = Math.min(this.position(), duration || Infinity);
      const { play: playWords, pause: pauseWords } = this.button.dataset;
      const words = this.isPlaying() ? pauseWords : playWords;
      this.classList.toggle("playing", this.isPlaying());
      if (this.button.getAttribute("aria-label") !== words) this.button.setAttribute("aria-label", words);
      this.slider.max = duration || 1;
      this.slider.disabled = !duration;
      this.slider.value = at;
      this.slider.setAttribute("aria-valuetext", `${clock(at)} / ${clock(duration)}`);
      this.time.textContent = !duration ? clock(at) : at || this.isPlaying() ? `${clock(at)} / ${clock(duration)}` : clock(duration);
      this.speed.firstElementChild.textContent = `${rate.toLocaleString(document.documentElement.lang)}×`;
      const peaks = shapes.get(file)?.peaks;
      [...this.wave.children].forEach((bar, number) => {
        if (peaks) bar.style.height = `${Math.max(12, Math.round(100 * peaks[number]))}%`;
        bar.classList.toggle("played", Boolean(duration) && (number + 0.5) / BARS <= at / duration);
      });
    }

    // `why`: unplayable by this browser, or unavailable on the server.
    fail(why) {
      this.classList.add("failed");
      const words = this.querySelector(".voice-failed");
      const ending = this.dataset.name.split(".").pop(), type = this.dataset.mime.split(/[/;]/)[1] || ending;
      words.textContent = words.dataset[why].replace("{type}", type.toUpperCase());
      words.hidden = false;
    }
  }

  customElements.define("voice-player", VoicePlayer);
  const pause = () => audio.pause();
  window.okno = Object.assign(window.okno || {}, { voice: { pause } });
})();
