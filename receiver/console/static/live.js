// Adds events to the table of the live tail as they come.
"use strict";

(() => {
  const live = document.getElementById("live");
  const state = document.getElementById("state");
  const pause = document.getElementById("pause");
  const body = document.querySelector("tbody");
  const titles = [...document.querySelectorAll("thead th")].map((each) => each.textContent);
  const most = Number(live.dataset.most);
  const source = new EventSource(live.dataset.source);
  let held = [];
  let paused = false;

  const cell = ({ text, link, utc }, index) => {
    const made = document.createElement("td");
    made.dataset.title = titles[index];
    let inner = made;
    if (link && text) {
      inner = made.appendChild(document.createElement("a"));
      inner.href = link;
    } else if (utc) {
      inner = made.appendChild(document.createElement("time"));
      inner.dateTime = inner.title = utc;
    }
    inner.textContent = text;
    return made;
  };

  const add = (cells) => {
    const row = document.createElement("tr");
    row.className = "new";
    row.append(...cells.map(cell));
    body.prepend(row);
    while (body.rows.length > most) body.lastElementChild.remove();
  };

  const tell = () => {
    pause.textContent = paused ? "Go on" : "Pause";
    state.textContent = paused ? `Paused; ${held.length} waiting` : "Following";
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    if (!paused) held.splice(0).forEach(add);
    tell();
  });
  source.addEventListener("open", tell);
  source.addEventListener("error", () => {
    const over = source.readyState === EventSource.CLOSED;
    if (over) state.textContent = "Ended; load the page again.";
  });
  source.addEventListener("message", (event) => {
    const cells = JSON.parse(event.data);
    if (!paused) return add(cells);
    held.push(cells);
    held = held.slice(-most);
    tell();
  });
})();
