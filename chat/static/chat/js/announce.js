// Says something to those who do not see the page change.

const place = document.getElementById("announcer");

export function announce(text) {
  place.textContent = text;
}
