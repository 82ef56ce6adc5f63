// A running import: apply one batch after another, and show how far it is.
(() => {
  const form = document.getElementById("import-step");
  if (!form) return;
  const RETRY = 3000; // milliseconds after an error
  form.hidden = true;
  const step = async () => {
    try {
      const answer = await fetch(location.pathname, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "HX-Request": "true" } });
      if (answer.status >= 502) throw new Error(String(answer.status)); // the proxy: the portal is away for a moment
      if (!answer.ok || answer.redirected) { form.hidden = false; return; }
      const place = document.getElementById("import-progress");
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("import-progress");
      if (!fresh) { form.hidden = false; return; }
      place.replaceWith(fresh);
      if (["running", "undoing"].includes(fresh.dataset.state)) step();
      else location.replace(location.pathname);
    } catch { setTimeout(step, RETRY); }
  };
  step();
})();
