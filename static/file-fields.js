// File inputs with our own button: browsers label theirs in the browser's language. Without scripts, theirs stays.
(() => {
  for (const input of document.querySelectorAll("input[type=file][data-choose]")) {
    const field = document.createElement("label"), button = document.createElement("span"), name = document.createElement("span");
    field.className = "file-field";
    button.className = "button";
    button.textContent = input.dataset.choose;
    name.className = "cut quiet";
    name.setAttribute("aria-live", "polite");
    const draw = () => {
      name.textContent = input.files[0]?.name || input.dataset.none;
      name.classList.toggle("quiet", !input.files.length);
    };
    input.replaceWith(field);
    input.className = "unseen";
    input.setAttribute("aria-label", document.querySelector(`label[for="${CSS.escape(input.id)}"]`).textContent);
    field.append(input, button, name);
    input.addEventListener("change", draw);
    addEventListener("pageshow", draw); // a browser restores the file when one goes back
    draw();
  }
})();
