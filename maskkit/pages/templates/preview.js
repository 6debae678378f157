// The page works without this: it makes one tab stop of each row's tokens, and lets the arrow keys walk through them.
for (const list of document.querySelectorAll(".tokens")) {
  const tokens = [...list.querySelectorAll(".token")];
  tokens.forEach((token, number) => { token.tabIndex = number ? -1 : 0; });
  const go = (from, number) => {
    const to = tokens[Math.min(Math.max(number, 0), tokens.length - 1)];
    if (!to || to === from) return;
    if (from) from.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  };
  list.addEventListener("keydown", (event) => {
    const token = event.target.closest(".token");
    const here = tokens.indexOf(token);
    const run = token && token.parentElement;
    const first = (of) => of && tokens.indexOf(of.firstElementChild);
    const steps = {
      ArrowRight: () => here + 1,
      ArrowLeft: () => here - 1,
      ArrowDown: () => first(run.nextElementSibling) ?? tokens.length - 1,
      ArrowUp: () => first(run.previousElementSibling) ?? 0,
      Home: () => 0,
      End: () => tokens.length - 1,
    };
    if (here >= 0 && event.key in steps && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      go(token, steps[event.key]());
    } else if (event.key === "Escape" && token) {
      token.blur();
    }
  });
}
