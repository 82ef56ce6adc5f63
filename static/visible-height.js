// The on-screen keyboard of an iPhone covers the page instead of making it shorter (interactive-widget is for others), so
// the app gets the height that can be seen: the header and the composer stay in view while one types.
(() => {
  const view = window.visualViewport;
  if (!view) return;
  const MIN_KEYBOARD = 80; // pixels: less is a toolbar of the browser
  const fit = () => {
    const isKeyboard = Math.abs(view.scale - 1) < 0.01 && innerHeight - view.height > MIN_KEYBOARD; // not a zoomed page
    document.documentElement.style.setProperty("--visible-height", isKeyboard ? `${Math.round(view.height)}px` : "");
    if (isKeyboard && document.getElementById("app") && scrollY) scrollTo(0, 0); // Safari moves the page up
  };
  view.addEventListener("resize", fit);
  view.addEventListener("scroll", fit);
  fit();
})();
