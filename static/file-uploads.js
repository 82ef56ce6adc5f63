// Uploads of dropped, pasted or chosen files, one at a time, with progress. If the provider sends files, each becomes a
// chip until it is sent; otherwise its link is inserted into the text.
(() => {
  const byId = (id) => document.getElementById(id);
  const composer = () => byId("composer");
  const chips = () => [...(byId("uploads")?.querySelectorAll("[data-upload]") || [])];
  const ids = () => chips().map((chip) => chip.dataset.upload);
  const isUploading = () => Boolean(byId("uploads")?.querySelector(".going:not(.failed)"));
  const REFUSED = [409, 413, 422]; // the same file would be refused again
  const THUMBNAIL = 36; // CSS pixels
  let queue = Promise.resolve();

  const names = () => chips().map((chip) => chip.querySelector("b").textContent);
  // Remove the chips of a message being sent; restore them if it is refused.
  const detachChips = () => chips().map((chip) => { chip.remove(); return chip; });
  const restoreChips = (removed) => { byId("uploads")?.prepend(...removed); };

  const addFiles = (files) => {
    okno.refusals.end("files");
    for (const file of files) {
      const chip = byId("upload-going").content.firstElementChild.cloneNode(true);
      chip.querySelector("b").textContent = chip.querySelector("b").title = file.name;
      byId("uploads").append(chip);
      drawThumbnail(file, chip);
      const { maxBytes, tooLarge } = composer().dataset; // a larger file would be uploaded in vain
      if (file.size > Number(maxBytes)) { fail(chip, tooLarge.replace("{name}", file.name)); continue; }
      chip.querySelector("[data-retry-upload]").addEventListener("click", () => {
        chip.classList.remove("failed");
        chip.querySelector("progress").value = 0;
        enqueue(file, chip);
      });
      enqueue(file, chip);
    }
  };
  const enqueue = (file, chip) => {
    const form = composer();
    queue = queue.then(() => (chip.isConnected && form === composer() ? post(file, chip, form) : null));
  };

  // Draw a small copy of a picture. A canvas needs no address, which the content security policy would have to allow.
  const drawThumbnail = async (file, chip) => {
    if (!file.type.startsWith("image/")) return;
    try {
      const bitmap = await createImageBitmap(file, { resizeHeight: 2 * THUMBNAIL, resizeQuality: "medium" });
      const canvas = document.createElement("canvas"), side = Math.min(bitmap.width, bitmap.height);
      canvas.className = "upload-thumbnail";
      canvas.width = canvas.height = 2 * THUMBNAIL;
      canvas.getContext("2d").drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, canvas.width, canvas.height);
      bitmap.close();
      chip.querySelector(".icon")?.replaceWith(canvas);
    } catch { /* not a picture that this browser can read: the icon stays */ }
  };

  const post = (file, chip, form, { isRepeated = false } = {}) =>
    new Promise((resolve) => {
      const call = new XMLHttpRequest(), body = new FormData();
      body.set("file", file);
      body.set("csrfmiddlewaretoken", okno.token());
      body.set("for_chat", form.elements.for_chat.value);
      body.set("for_user", okno.user);
      call.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) chip.querySelector("progress").value = (100 * event.loaded) / event.total;
      });
      call.addEventListener("loadend", async () => {
        if (call.status === 403 && !isRepeated && (await okno.renewToken())) await post(file, chip, form, { isRepeated: true });
        else finish(call, chip, form);
        resolve();
      });
      chip.querySelector("[data-cancel-upload]").addEventListener("click", () => { call.abort(); chip.remove(); });
      call.open("POST", form.dataset.upload);
      call.setRequestHeader("HX-Request", "true");
      call.responseType = "json";
      call.send(body);
    });

  const finish = (call, chip, form) => {
    const answer = call.response || {};
    if (call.status === 409) okno.handleConflict(JSON.stringify(answer));
    if (!chip.isConnected || form !== composer()) return;
    if (call.status === 201 && answer.chip) {
      const holder = document.createElement("template");
      holder.innerHTML = answer.chip;
      const canvas = chip.querySelector("canvas");
      if (canvas) holder.content.querySelector(".upload-thumbnail")?.replaceWith(canvas);
      chip.replaceWith(holder.content);
    } else if (call.status === 201) {
      chip.remove();
      insertLink(answer.text);
    } else {
      fail(chip, answer.sentence || form.dataset.failed, { mayRetry: !REFUSED.includes(call.status) });
    }
  };
  const fail = (chip, sentence, { mayRetry = false } = {}) => {
    chip.classList.add("failed");
    chip.querySelector("[data-retry-upload]").hidden = !mayRetry;
    chip.querySelector(".upload-error").textContent = sentence;
  };

  const insertLink = (line) => {
    byId("text").selectionStart = byId("text").selectionEnd; // do not replace selected text
    okno.insert(line, { separator: "\n" });
  };

  document.addEventListener("change", (event) => {
    if (!event.target.matches?.('#composer input[type="file"]')) return;
    addFiles(event.target.files);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = event.target.id === "text" ? event.clipboardData?.files : null;
    if (!files?.length) return;
    event.preventDefault();
    addFiles(files);
  });

  // --- drag and drop on the whole chat -------------------------------------------------------------
  const carriesFiles = (event) => composer() && event.dataTransfer?.types.includes("Files");
  const showDropHint = (isShown) => { if (byId("drop-here")) byId("drop-here").hidden = !isShown; };
  let dragTimer;
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    showDropHint(true);
    clearTimeout(dragTimer);
    dragTimer = setTimeout(() => showDropHint(false), 400); // leaving the window fires no event
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    showDropHint(false);
    addFiles(event.dataTransfer.files);
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#uploads [data-drop]");
    if (button) {
      event.preventDefault();
      okno.postAsUser(button.getAttribute("formaction"), {}).catch(() => {});
      button.closest("li").remove();
    } else if (event.target.closest?.(".failed [data-cancel-upload]")) event.target.closest("li").remove();
  });

  // --- renaming a file before it is sent: its ending stays -----------------------------------------------------------------
  let renaming = null; // the request under way
  const startRenaming = (chip) => {
    const name = chip.querySelector("b"), button = chip.querySelector("[data-rename]");
    if (chip.querySelector(".upload-name")) return;
    const [, stem, ending] = name.textContent.match(/^(.*?)(\.[^.]*)?$/);
    const field = document.createElement("input");
    field.className = "input upload-name";
    field.value = stem;
    field.maxLength = 150;
    field.setAttribute("aria-label", button.getAttribute("aria-label"));
    name.hidden = true;
    name.before(field);
    field.focus();
    field.select();
    let isDone = false; // removing the field takes the focus away, which ends the renaming, too
    const finish = ({ isKept }) => {
      if (isDone) return;
      isDone = true;
      const wanted = field.value.trim(), hadFocus = document.activeElement === field;
      field.remove();
      name.hidden = false;
      if (hadFocus) button.focus();
      if (isKept && wanted && wanted !== stem) renaming = rename(chip, name, wanted + (ending || ""));
    };
    field.addEventListener("blur", () => finish({ isKept: true }));
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      finish({ isKept: event.key === "Enter" });
    });
  };
  const rename = async (chip, name, wanted) => {
    const before = name.textContent;
    name.textContent = name.title = wanted;
    try {
      const answer = await okno.postAsUser(chip.querySelector("[data-rename]").dataset.rename, { name: wanted });
      name.textContent = name.title = answer.ok ? (await answer.json()).name : before;
    } catch {
      name.textContent = name.title = before;
    } finally {
      renaming = null;
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#uploads [data-rename]");
    if (button) startRenaming(button.closest("li"));
  });
  // A reply waits until its file has its new name.
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "composer" || !renaming) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const form = event.target;
    renaming.then(() => { if (form === composer()) form.requestSubmit(); });
  }, true);

  window.okno = Object.assign(window.okno || {}, { files: { ids, names, isUploading, detachChips, restoreChips } });
})();
