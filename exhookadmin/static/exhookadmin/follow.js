"use strict";

// Following the log: every two seconds the newest rows are asked for. What is not shown yet is put in its place,
// which is not always the top: the endpoint's workers store what they heard each in its own time.
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

  const timeOf = (row) => Date.parse(row.querySelector("time").dateTime);

  // Answers how many rows are new. One that is shown already may count more repeats now.
  const put = (html) => {
    const holder = document.createElement("tbody");
    holder.innerHTML = html;
    let fresh = 0;
    let place = rows.firstElementChild;
    for (const row of [...holder.rows]) {
      const shown = rows.querySelector(`[data-event="${row.dataset.event}"]`);
      if (!shown) {
        while (place && timeOf(place) > timeOf(row)) {
          place = place.nextElementSibling;
        }
        rows.insertBefore(row, place);
        fresh += 1;
      } else if (shown.dataset.repeats !== row.dataset.repeats && !shown.querySelector("details[open]")) {
        place = place === shown ? row : place;
        shown.replaceWith(row);
      }
    }
    return fresh;
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
    const fresh = put(await answer.text());
    document.dispatchEvent(new Event("htmx:afterSettle"));
    while (rows.rows.length > MOST_ROWS) {
      rows.lastElementChild.remove();
    }
    if (fresh) {
      const missed = answer.headers.has("X-Missed") ? "; more came than are shown here: search for them" : "";
      status.textContent = `${fresh} new${missed}`;
    }
    button.dataset.cursor = answer.headers.get("X-Newer") || button.dataset.cursor;
    timer = setTimeout(ask, EVERY);
  };

  // Whoever has no scripts has nothing to press.
  button?.removeAttribute("hidden");
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
