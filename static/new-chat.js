// New chat: say at once that the number is known, show the templates of the chosen channel, and focus the first value.
(() => {
  // The second step: the first empty value, or the button.
  const values = document.querySelector("form[data-preview-url]");
  if (values && document.activeElement === document.body) {
    const empty = [...values.querySelectorAll("textarea, select, input:not([type=hidden])")].find((field) => !field.value);
    (empty || values.querySelector("[data-go]")).focus({ preventScroll: true });
  }
  const form = document.getElementById("new-chat");
  if (!form) return;
  const phone = form.elements.phone, known = document.getElementById("new-phone-known");
  const select = form.elements.template;
  const PAUSE = 350; // milliseconds after the last key
  let timer, number = 0;

  const lookUp = async () => {
    const mine = ++number;
    if (phone.value.replace(/\D/g, "").length < 7) { known.replaceChildren(); return; }
    const body = new URLSearchParams(new FormData(form));
    body.set("lookup", "1");
    try {
      const answer = await fetch(location.pathname, { method: "POST", body, headers: { "HX-Request": "true" } });
      if (answer.ok && !answer.redirected && mine === number) known.innerHTML = await answer.text();
    } catch { /* without a connection, the next key asks again */ }
  };
  const schedule = () => { clearTimeout(timer); timer = setTimeout(lookUp, PAUSE); };
  phone.addEventListener("input", schedule);

  // Only the templates of the chosen channel.
  const showTemplates = () => {
    const chosen = form.querySelector("[name=channel]:checked")?.value;
    for (const group of select.querySelectorAll("optgroup")) {
      const fits = !chosen || group.dataset.channel === chosen;
      group.hidden = !fits;
      group.disabled = !fits;
      if (!fits && group.querySelector("option:checked")) select.value = "";
    }
  };
  form.addEventListener("change", (event) => {
    if (event.target.name === "channel") { showTemplates(); schedule(); }
  });
  showTemplates();
})();
