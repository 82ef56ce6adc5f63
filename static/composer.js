// The box one writes in: Ctrl+Enter, a draft that survives anything, and a refusal that comes back at once.
(() => {
  const KEEP_AFTER = 700; // milliseconds after the last key
  const composer = () => document.getElementById("composer");
  const box = () => document.getElementById("text");
  const WRITES = 4000; // milliseconds after the last key: so long others see that one is writing
  let timer, keeping = Promise.resolve(), unkept = false, typedAt = -WRITES;

  const say = (sentence) => {
    const place = document.getElementById("refusal");
    if (!place) return;
    place.querySelector("span").textContent = sentence;
    place.hidden = !sentence;
  };

  // --- the draft ---------------------------------------------------------------------------------------------
  const keep = () => {
    clearTimeout(timer);
    if (!unkept || !composer()) return keeping;
    unkept = false;
    const address = composer().dataset.draft, text = box().value;
    keeping = keeping.then(() => okno.tell(address, { text })).catch(() => { unkept = true; });
    return keeping;
  };
  const keepAtOnce = () => { // the page goes away: a beacon outlives it
    if (!unkept || !composer()) return;
    unkept = false;
    const body = new FormData();
    body.set("text", box().value);
    body.set("csrfmiddlewaretoken", composer().querySelector("[name=csrfmiddlewaretoken]").value);
    navigator.sendBeacon(composer().dataset.draft, body);
  };

  document.addEventListener("input", (event) => {
    if (event.target.id !== "text") return;
    unkept = true;
    typedAt = performance.now();
    clearTimeout(timer);
    timer = setTimeout(keep, KEEP_AFTER);
  });
  addEventListener("pagehide", keepAtOnce);
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id === "chat") { clearTimeout(timer); keepAtOnce(); }
  });

  // Words that did not get out came back as a draft on the server: show them where they were written.
  addEventListener("okno:draft", (event) => {
    const { draft, refusal } = event.detail;
    if (refusal) say(refusal);
    if (draft && !unkept && box() && !box().value.trim()) box().value = draft;
  });
  addEventListener("okno:refused", (event) => say(event.detail));

  // Words go out once however often they are posted: the same words keep their key until the portal has answered.
  let key = "", keyOf = null;
  const keyFor = (words) => {
    if (keyOf !== words) {
      keyOf = words;
      key = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return key;
  };
  const answered = () => { keyOf = null; };
  const writes = () => performance.now() - typedAt < WRITES && Boolean(box()?.value.trim());

  // --- sending --------------------------------------------------------------------------------------------------
  document.addEventListener("keydown", (event) => {
    if (event.target.id === "text" && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!composer().querySelector(".bar button.main").disabled) composer().requestSubmit();
    }
  });

  document.addEventListener("submit", async (event) => {
    if (event.target.id !== "composer") return;
    event.preventDefault();
    if (okno.files.going()) return;
    const form = event.target, button = form.querySelector(".bar button.main"), text = box().value;
    clearTimeout(timer);
    unkept = false;
    button.disabled = true;
    try {
      await keeping; // an earlier draft must not land after the message that it became
      const answer = await okno.tell(form.getAttribute("action"), okno.files.with({ text, ...okno.replying.to(), key: keyFor(JSON.stringify([form.getAttribute("action"), text, okno.replying.to(), okno.files.ids()])) }));
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const { sent, sentence } = await answer.json();
      answered();
      say(sentence);
      if (sent && form === composer()) { forget(text); okno.files.sent(); okno.replying.end(); }
      if (!sent) dispatchEvent(new Event("okno:unsent"));
    } catch {
      unkept = true;
      say(form.dataset.failed);
    } finally {
      button.disabled = false;
      box()?.focus();
      dispatchEvent(new Event("okno:ask"));
    }
  });

  // Who went on typing while the message was on its way keeps what is new.
  const forget = (text) => {
    const rest = box().value.startsWith(text) ? box().value.slice(text.length) : box().value;
    box().value = rest.trim() ? rest.trimStart() : "";
    unkept = Boolean(box().value);
    if (unkept) timer = setTimeout(keep, KEEP_AFTER);
  };

  // For composer-templates.js: what was put into the box is kept like what is typed; nothing is kept after sending.
  const changed = () => {
    unkept = Boolean(box().value);
    clearTimeout(timer);
    timer = setTimeout(keep, KEEP_AFTER);
  };
  const settle = () => {
    clearTimeout(timer);
    unkept = false;
    return keeping;
  };
  window.okno = Object.assign(window.okno || {}, { composer: { say, changed, settle, forget, keyFor, answered, writes } });

  // A message that may only go out as a template leads to the composer's own picker.
  document.addEventListener("click", (event) => {
    const picker = event.target.closest?.("[data-choose-template]") && document.querySelector("#composer .pick-template");
    if (!picker || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    picker.click();
    picker.scrollIntoView({ block: "nearest" });
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-to-box]");
    if (!button || !box()) return;
    box().value = [box().value, button.dataset.toBox].filter(Boolean).join("\n");
    box().dispatchEvent(new Event("input", { bubbles: true }));
    box().focus();
  });
})();
