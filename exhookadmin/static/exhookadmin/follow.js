"use strict";

// Following the log: every two seconds the rows that came since are asked for, and put on top.
{
  const EVERY = 2000;
  const MOST_ROWS = 500;
  const button = document.querySelector("#follow");
  const rows = document.querySelector("#rows");
  const status = document.querySelector("#followed");
  let timer = 0;

  // On a small screen the events come first.
  if (rows && matchMedia("(max-width: 1023px)").matches) {
    for (const fold of document.querySelectorAll("[data-fold]")) {
      fold.open = false;
    }
  }

  const stop = (words) => {
    clearTimeout(timer);
    timer = 0;
    button.setAttribute("aria-pressed", "false");
    button.textContent = words;
  };

  const ask = async () => {
    const url = new URL(button.dataset.url, location.href);
    url.searchParams.set("cursor", button.dataset.cursor);
    let answer;
    try {
      answer = await fetch(url, { credentials: "same-origin", redirect: "error" });
    } catch {
      answer = undefined;
    }
    if (!timer) {
      return;
    }
    if (!answer?.ok) {
      stop("The connection is lost: follow again");
      return;
    }
    const holder = document.createElement("tbody");
    holder.innerHTML = await answer.text();
    const fresh = [...holder.rows].filter((row) => !rows.querySelector(`[data-event="${row.dataset.event}"]`));
    rows.prepend(...fresh);
    document.dispatchEvent(new Event("htmx:afterSettle"));
    while (rows.rows.length > MOST_ROWS) {
      rows.lastElementChild.remove();
    }
    if (fresh.length) {
      status.textContent = `${fresh.length} new`;
    }
    button.dataset.cursor = answer.headers.get("X-Newer") || button.dataset.cursor;
    timer = setTimeout(ask, EVERY);
  };

  button?.addEventListener("click", () => {
    if (timer) {
      stop("Follow");
      return;
    }
    button.setAttribute("aria-pressed", "true");
    button.textContent = "Pause";
    timer = setTimeout(ask, 0);
  });
}
