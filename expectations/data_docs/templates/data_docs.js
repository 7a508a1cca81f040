// What the pages need of Bootstrap: tabs, folds, a filter over table rows, rows that are links.
document.querySelectorAll('[data-toggle="tab"]').forEach((tab) => {
  tab.addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelectorAll(".nav-link, .tab-pane").forEach((part) => part.classList.remove("active"));
    tab.classList.add("active");
    document.getElementById(tab.getAttribute("href").slice(1)).classList.add("active");
  });
});
document.querySelectorAll('[data-toggle="collapse"]').forEach((link) => {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById(link.getAttribute("href").slice(1)).classList.toggle("show");
  });
});
document.querySelectorAll("tr[data-href]").forEach((row) => {
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a")) window.location = row.dataset.href;
  });
});
document.querySelectorAll(".filter").forEach((input) => {
  const rows = input.nextElementSibling.querySelectorAll("tbody tr");
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    rows.forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
  });
});
const onlyFailed = document.getElementById("only-failed");
if (onlyFailed) {
  onlyFailed.addEventListener("change", () => {
    document.querySelectorAll(".hide-succeeded-validation-target-child").forEach((cell) => {
      cell.closest("tr").hidden = onlyFailed.checked;
    });
    document.querySelectorAll(".ge-section").forEach((section, index) => {
      const rows = [...section.querySelectorAll("tbody tr")];
      section.hidden = onlyFailed.checked && index > 0 && rows.every((row) => row.hidden);
    });
  });
}
