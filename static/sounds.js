// Sounds of notifications, synthesized: no files. A browser plays them only after a first click or key on the page.
(() => {
  let context = null;

  // One tone: frequency in Hz (or from and to), start and length in seconds.
  const tone = (target, { from, to = from, at, length, type = "sine", level = 1 }) => {
    const oscillator = context.createOscillator(), gain = context.createGain(), start = context.currentTime + at;
    oscillator.type = type;
    oscillator.frequency.setValueAtTime(from, start);
    if (to !== from) oscillator.frequency.exponentialRampToValueAtTime(to, start + length);
    gain.gain.setValueAtTime(0.0001, start);
    gain.gain.exponentialRampToValueAtTime(level, start + 0.012);
    gain.gain.exponentialRampToValueAtTime(0.0001, start + length);
    oscillator.connect(gain).connect(target);
    oscillator.start(start);
    oscillator.stop(start + length + 0.05);
  };
  const SOUNDS = {
    chime: [{ from: 880, at: 0, length: 0.5, level: 0.5 }, { from: 1318.5, at: 0.12, length: 0.7, level: 0.4 }],
    drop: [{ from: 1100, to: 420, at: 0, length: 0.16, level: 0.6 }, { from: 700, to: 980, at: 0.13, length: 0.12, level: 0.3 }],
    marimba: [523.25, 659.25, 783.99].map((from, index) => ({ from, at: index * 0.09, length: 0.35, type: "triangle", level: 0.5 })),
    knock: [0, 0.14].map((at) => ({ from: 190, to: 90, at, length: 0.09, type: "triangle", level: 0.9 })),
  };

  const unlock = () => {
    const Context = window.AudioContext || window.webkitAudioContext;
    if (!Context) return;
    context ||= new Context();
    if (context.state === "suspended") context.resume().catch(() => {});
  };
  for (const name of ["pointerdown", "keydown"]) addEventListener(name, unlock, { capture: true, passive: true });

  const isBlocked = () => !context || context.state !== "running";
  // Play a sound at a volume of 0 to 100. Returns whether the browser allowed it.
  const play = (name, volume) => {
    if (!SOUNDS[name] || !volume) return true;
    if (isBlocked()) return false;
    const master = context.createGain();
    master.gain.value = (volume / 100) ** 1.5 * 0.6;
    master.connect(context.destination);
    for (const each of SOUNDS[name]) tone(master, each);
    return true;
  };
  window.okno = Object.assign(window.okno || {}, { sounds: { play, isBlocked, unlock } });
})();
