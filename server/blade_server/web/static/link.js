// The sign in the corner that says whether the server answers.

const sign = document.getElementById("link");
const WORDS = { live: "Live", lost: "No connection" };

export function showLink(state) {
  if (sign.dataset.state === state) return;
  sign.dataset.state = state;
  sign.textContent = WORDS[state];
}
