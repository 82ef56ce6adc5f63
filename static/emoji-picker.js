// Emoji of the composer and of reactions: search in Russian and English, recent ones first, arrows and Enter.
(() => {
  const byId = (id) => document.getElementById(id);
  if (!byId("desk")) return;
  const MAX_RECENT = 16, STORE = "okno.recentEmoji";
  const EMOJI = `
😀 улыбка радость smile happy|😊 улыбка румянец smile blush|😁 улыбка зубы grin|😂 смех слезы laugh tears|🙂 легкая улыбка slight smile|😉 подмигивание wink|😍 влюблен сердца love eyes|🥰 любовь нежность love|😘 поцелуй kiss|😎 круто очки cool sunglasses|🤗 объятия обнимаю hug|🤔 думаю вопрос think|😅 неловко пот sweat|😐 нейтрально neutral|😔 грусть жаль sad sorry|😢 слеза плач cry|😭 рыдание cry sob|😡 злость angry|😱 ужас шок shock|😴 сон спать sleep|🤒 болезнь sick|🤝 договорились рукопожатие deal handshake|🙏 спасибо прошу пожалуйста thanks please|👍 хорошо да лайк палец ok yes like|👎 плохо нет дизлайк bad no dislike|👌 отлично окей ok perfect|👏 аплодисменты браво clap bravo|🙌 ура праздник hooray|👋 привет пока hello bye wave|✌️ мир победа peace victory|🤞 удача пальцы luck|💪 сила strong|👀 смотрю глаза look eyes|✅ готово галочка done check|☑️ галочка check|❌ нет крест no cross|❗ важно восклицание important|❓ вопрос question|⚠️ внимание предупреждение warning|⛔ стоп запрет stop|🔥 огонь круто fire hot|⭐ звезда star|✨ блеск sparkles|💯 сто процентов hundred|🎉 праздник поздравляю party congratulations|🎁 подарок gift|🎂 торт день рождения cake birthday|🎈 шарик balloon|🏆 кубок победа trophy|💐 букет цветы flowers bouquet|🌹 роза rose|🌸 цветок весна flower spring|☀️ солнце погода sun|🌧️ дождь rain|❄️ снег зима snow winter|🎄 елка новый год christmas tree|❤️ сердце любовь heart love|🧡 сердце оранжевое heart orange|💚 сердце зеленое heart green|💙 сердце синее heart blue|💜 сердце фиолетовое heart purple|💔 разбитое сердце broken heart|📦 посылка коробка заказ parcel box order|🚚 доставка грузовик delivery truck|🚗 машина такси car|✈️ самолет поездка plane travel|🏠 дом адрес home address|🏬 магазин store shop|📍 место адрес точка place pin|🗺️ карта map|🛒 корзина покупка cart shopping|🛍️ покупки пакеты shopping bags|💳 карта оплата card payment|💰 деньги money|💸 деньги возврат money refund|🧾 чек счет receipt bill|🏷️ цена скидка price tag sale|📞 телефон звонок phone call|📱 смартфон phone mobile|💬 сообщение чат message chat|✉️ письмо почта mail letter|📧 почта email|📎 файл скрепка file clip|📄 документ document|📝 записать заметка note write|📷 фото камера photo camera|🎥 видео video|🔗 ссылка link|🔍 поиск search|🔒 замок закрыто lock|🔑 ключ key|⏰ время будильник time alarm|⏳ ждем часы wait hourglass|🕐 час время clock time|📅 дата календарь date calendar|🔔 напоминание звонок bell reminder|💡 идея лампочка idea|🔧 ремонт ключ repair wrench|⚙️ настройки settings gear|🧹 уборка clean|👕 одежда футболка clothes shirt|👗 платье dress|👟 кроссовки обувь shoes|👢 сапоги boots|💍 кольцо ring|☕ кофе coffee|🍕 пицца pizza|🍰 десерт пирожное cake dessert|🍎 яблоко apple|🥂 бокалы тост cheers|🐶 собака dog|🐱 кошка cat|➡️ стрелка вправо arrow right|⬅️ стрелка влево arrow left|⬆️ вверх arrow up|⬇️ вниз arrow down|1️⃣ один one|2️⃣ два two|3️⃣ три three|🆗 окей ok|🆕 новый new|🔄 обновить обмен refresh exchange`
    .trim().split("|").map((line) => { const [sign, ...words] = line.trim().split(" "); return { sign, words }; });

  const recent = () => {
    try { return JSON.parse(localStorage.getItem(STORE)) || []; } catch { return []; }
  };
  const remember = (sign) => {
    try { localStorage.setItem(STORE, JSON.stringify([sign, ...recent().filter((one) => one !== sign)].slice(0, MAX_RECENT))); } catch { /* not stored */ }
  };
  const panelOf = (node) => node.closest?.("[data-emoji-panel]");
  const field = () => (okno.compose?.mode() === "note" ? byId("note-text") : byId("text"));
  const normalize = (text) => text.toLocaleLowerCase().replaceAll("ё", "е");

  const draw = (panel, query = "") => {
    const grid = panel.querySelector(".emoji-grid"), words = normalize(query).split(/\s+/).filter(Boolean);
    let shown = EMOJI;
    if (words.length) shown = EMOJI.filter((one) => words.every((word) => one.words.some((own) => own.startsWith(word))));
    else {
      const own = recent();
      shown = [...own.map((sign) => EMOJI.find((one) => one.sign === sign)).filter(Boolean), ...EMOJI.filter((one) => !own.includes(one.sign))];
    }
    grid.replaceChildren(...shown.map(({ sign, words: names }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = sign;
      button.dataset.sign = sign;
      button.tabIndex = -1;
      button.setAttribute("aria-label", document.documentElement.lang === "ru" ? names.filter((name) => /[а-я]/.test(name)).join(" ") : names.filter((name) => /[a-z]/.test(name)).join(" "));
      return button;
    }));
    const first = grid.querySelector("button");
    if (first) first.tabIndex = 0;
    panel.querySelector(".emoji-none").hidden = Boolean(first);
  };
  // Show all emoji in a panel and focus its search.
  const open = (panel) => {
    const search = panel.querySelector("input");
    search.value = "";
    draw(panel);
    search.focus();
  };

  // The panel of the composer inserts the emoji; other panels listen.
  const choose = (panel, sign) => {
    remember(sign);
    if (panel.id !== "emoji") {
      panel.dispatchEvent(new CustomEvent("okno:emoji-chosen", { bubbles: true, detail: sign }));
      return;
    }
    const target = field();
    panel.open = false;
    target.focus();
    if (document.execCommand("insertText", false, sign)) return; // keeps Ctrl+Z, and fires "input"
    target.setRangeText(sign, target.selectionStart, target.selectionEnd, "end");
    target.dispatchEvent(new Event("input", { bubbles: true }));
  };

  document.addEventListener("toggle", (event) => { if (event.target.id === "emoji" && event.target.open) open(event.target); }, true);
  document.addEventListener("input", (event) => { if (event.target.matches?.("[data-emoji-panel] input")) draw(panelOf(event.target), event.target.value); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".emoji-grid button");
    if (button) choose(panelOf(button), button.dataset.sign);
  });
  document.addEventListener("keydown", (event) => {
    const panel = panelOf(event.target);
    if (!panel) return;
    const buttons = [...panel.querySelector(".emoji-grid").children], index = buttons.indexOf(event.target);
    if (event.key === "Enter" && index < 0 && event.target.matches("input")) {
      event.preventDefault();
      if (event.target.value.trim() && buttons.length) choose(panel, buttons[0].dataset.sign);
      return;
    }
    if (index < 0 && !event.target.matches("input")) return;
    const columns = Math.max(1, buttons.filter((one) => one.offsetTop === buttons[0]?.offsetTop).length);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    if (!(event.key in steps) || !buttons.length || (index < 0 && event.key !== "ArrowDown")) return;
    event.preventDefault();
    const next = index < 0 ? 0 : index + steps[event.key];
    if (next < 0) { panel.querySelector("input").focus(); return; }
    buttons[Math.min(next, buttons.length - 1)].focus();
  });

  window.okno = Object.assign(window.okno || {}, { emoji: { open, remember } });
})();
