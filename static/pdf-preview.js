// Pages of a PDF, drawn by PDF.js (static/pdfjs) in the full view. The library is loaded with the first PDF. It reads the file
// in ranges, and draws only the pages near the visible part.
(() => {
  const scripts = document.currentScript.dataset;
  const MAX_PIXELS = 12_000_000; // of one canvas; phones refuse larger ones
  const ZOOM_LIMITS = [0.5, 4];
  let library = null;
  const loadLibrary = () => {
    library ??= import(scripts.library).then((pdfjs) => {
      pdfjs.GlobalWorkerOptions.workerSrc = scripts.worker;
      return pdfjs;
    });
    library.catch(() => { library = null; });
    return library;
  };

  // Draw the file into `stage`. Returns {end, zoom}. `label`: name of a page with {n} and {total}.
  const show = (href, stage, { label, onFailure }) => {
    let task = null, isEnded = false, zoom = 1, near = null;
    const draw = async () => {
      const pdfjs = await loadLibrary();
      if (isEnded) return;
      task = pdfjs.getDocument({ url: href, isEvalSupported: false, useWasm: false, enableXfa: false, disableAutoFetch: true, disableStream: true });
      const pdf = await task.promise, first = await pdf.getPage(1);
      if (isEnded) return;
      const pages = document.createElement("div");
      pages.className = "pdf-pages";
      pages.tabIndex = 0;
      near = new IntersectionObserver((entries) => {
        for (const { isIntersecting, target } of entries) (isIntersecting ? drawPage : clearPage)(pdf, target);
      }, { root: pages, rootMargin: "100% 0px" });
      const { width, height } = first.getViewport({ scale: 1 });
      for (let number = 1; number <= pdf.numPages; number += 1) {
        const page = document.createElement("section");
        page.dataset.page = number;
        page.style.aspectRatio = `${width} / ${height}`;
        page.setAttribute("aria-label", label.replace("{n}", number).replace("{total}", pdf.numPages));
        pages.append(page);
        near.observe(page);
      }
      stage.replaceChildren(pages);
      pages.focus();
    };
    const drawPage = async (pdf, place) => {
      const drawn = `${zoom}`;
      if (place.dataset.drawn === drawn) return;
      place.dataset.drawn = drawn;
      const page = await pdf.getPage(Number(place.dataset.page)), size = page.getViewport({ scale: 1 });
      if (isEnded || place.dataset.drawn !== drawn) return;
      place.style.aspectRatio = `${size.width} / ${size.height}`;
      const wanted = (place.clientWidth / size.width) * devicePixelRatio;
      const viewport = page.getViewport({ scale: Math.min(wanted, Math.sqrt(MAX_PIXELS / (size.width * size.height))) });
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [Math.floor(viewport.width), Math.floor(viewport.height)];
      await page.render({ canvas, viewport }).promise;
      const words = document.createElement("p"); // for screen readers
      words.className = "unseen";
      words.textContent = (await page.getTextContent()).items.map((item) => item.str).join(" ");
      if (!isEnded && place.dataset.drawn === drawn) place.replaceChildren(canvas, words);
    };
    const clearPage = (_pdf, place) => {
      delete place.dataset.drawn;
      place.replaceChildren();
    };
    draw().catch(() => { if (!isEnded) onFailure(); });
    return {
      end: () => {
        isEnded = true;
        near?.disconnect();
        task?.destroy();
      },
      zoom: (factor) => {
        const pages = stage.querySelector(".pdf-pages");
        if (!pages) return;
        const middle = (pages.scrollTop + pages.clientHeight / 2) / pages.scrollHeight;
        zoom = factor ? Math.max(ZOOM_LIMITS[0], Math.min(ZOOM_LIMITS[1], zoom * factor)) : 1;
        pages.style.setProperty("--pdf-zoom", zoom);
        pages.scrollTop = middle * pages.scrollHeight - pages.clientHeight / 2;
        for (const page of pages.children) { near.unobserve(page); near.observe(page); }
      },
    };
  };

  window.okno = Object.assign(window.okno || {}, { pdf: { show } });
})();
