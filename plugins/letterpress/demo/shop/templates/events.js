"use strict";
// Puts what the shop's stream brings on top of the list, and keeps the clock in step. The rows come escaped.
const LONGEST = 300;
const list = document.getElementById("events");
const live = document.getElementById("live");
const source = new EventSource(list.dataset.source);

source.addEventListener("open", () => {
  live.className = "live on";
  live.textContent = "live";
});
source.addEventListener("error", () => {
  live.className = "live";
  live.textContent = "waiting for the shop";
});
source.addEventListener("news", (message) => {
  const news = JSON.parse(message.data);
  list.insertAdjacentHTML("afterbegin", news.rows);
  while (list.rows.length > LONGEST) list.deleteRow(-1);
  live.textContent = `live, ${news.count.toLocaleString("en")} new`;
});
source.addEventListener("clock", (message) => {
  const clock = JSON.parse(message.data);
  document.getElementById("clock").dateTime = clock.instant;
  for (const part of document.querySelectorAll("[data-clock]")) part.textContent = clock[part.dataset.clock];
});

for (const form of document.querySelectorAll(".clock form")) {
  form.addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      await fetch(form.action, { method: "POST", redirect: "manual" });
    } finally {
      button.disabled = false;
    }
  });
}
