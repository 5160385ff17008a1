"use strict";

// A <time> says the moment in UTC. Here it is said in the viewer's zone, with the exact UTC on hover;
// without this script the UTC stays.
{
  const local = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

  const localize = (root) => {
    for (const element of root.querySelectorAll("time[data-local]")) {
      const moment = new Date(element.dateTime);
      if (!Number.isNaN(moment.getTime())) {
        element.title = `${element.dateTime.replace("T", " ").replace(/(\.\d{3})?\d*(Z|\+00:00)$/, "$1")} UTC`;
        element.textContent = local.format(moment);
        element.removeAttribute("data-local");
      }
    }
  };

  document.addEventListener("DOMContentLoaded", () => localize(document));
  document.addEventListener("htmx:afterSettle", () => localize(document));
}
