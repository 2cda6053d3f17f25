"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("data").textContent);
  const videos = [...document.querySelectorAll("video")];
  const choices = [...at("choices").children];
  const place = `motive-study-${data.study}`;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

  // Where votes go. Both keepers give {rater, code, sheet, votes} on entering, and save one vote at a time.

  const server = {
    async post(path, body) {
      const answer = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      }).catch(() => null);
      if (answer === null) throw new Error("The server does not answer. Try again in a moment.");
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw Object.assign(new Error(said.error || `The server says ${answer.status}.`), { status: answer.status });
      return said;
    },
    async enter(name, code) {
      const entered = await this.post("enter", { name, code });
      remember({ name: entered.rater, code: entered.code });
      return entered;
    },
    save: (pair, choice) => server.post("vote", { name: state.rater, code: state.code, pair, choice }),
  };

  const disk = {
    key: `${place}-${data.rater}`,
    votes: [],
    async enter() {
      this.votes = stored(this.key) ?? [];
      const votes = Object.fromEntries(this.votes.map((vote) => [vote.pair, vote.choice]));
      return { rater: data.rater, code: data.code, sheet: data.sheet, votes };
    },
    async save(pair, choice) {
      const others = this.votes.filter((vote) => vote.pair !== pair);
      const last = Math.max(0, ...this.votes.map((vote) => vote.at));
      this.votes = [...others, { pair, choice, at: Math.max(Date.now(), last + 1) }];
      const kept = store(this.key, this.votes);
      at("saved").textContent = kept ? "" : "This browser keeps nothing: save your answers to a file before you leave the page.";
    },
    download() {
      const text = JSON.stringify({ study: data.study, rater: data.rater, code: data.code, votes: this.votes }, null, 1);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      link.download = `votes-${data.number}.json`;
      link.click();
      URL.revokeObjectURL(link.href);
      at("saved").textContent = `Saved ${this.votes.length} answers.`;
    },
  };

  const keeper = data.sheet ? disk : server;
  const state = { rater: "", code: "", sheet: [], votes: {}, index: 0, seen: [false, false], playing: false, saving: false };

  function stored(key) {
    try {
      return JSON.parse(localStorage.getItem(key));
    } catch {
      return null;
    }
  }

  function store(key, value) {
    try {
      localStorage.setItem(key, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  }

  function remember(who) {
    store(place, who);
  }

  // Views.

  function show(id) {
    for (const section of ["welcome", "rating", "done"]) at(section).hidden = section !== id;
    at("keeping").hidden = keeper !== disk || id === "welcome" || Object.keys(state.votes).length === 0;
    at("progress").hidden = id === "welcome";
    at("keeping").className = id === "done" ? "card" : "foot";
    at("download").className = id === "done" ? "main" : "";
    at("resume").hidden = keeper === disk || id === "welcome";
    if (id !== "rating") stop();
  }

  function hint(text, bad = false) {
    at("hint").textContent = text;
    at("hint").classList.toggle("bad", bad);
  }

  // What can be done now, unless something went wrong: that stays until the rater does something about it.
  function remind() {
    const ready = at("choices").getAttribute("aria-disabled") === "false";
    if (!state.saving && !at("hint").classList.contains("bad")) hint(ready ? "" : "Watch both videos to the end.");
  }

  function unanswered() {
    return state.sheet.findIndex((entry) => !(entry.pair in state.votes));
  }

  function count() {
    const done = Object.keys(state.votes).length;
    at("bar").max = state.sheet.length;
    at("bar").value = done;
    at("count").textContent = `${done} of ${state.sheet.length} answered`;
  }

  function begin(entered) {
    Object.assign(state, entered);
    at("who").textContent = state.rater;
    at("mine").textContent = state.code;
    goOn();
  }

  function goOn() {
    const next = unanswered();
    if (next < 0) finish();
    else turnTo(next);
  }

  function finish() {
    count();
    at("ending").textContent = `All ${state.sheet.length} pairs are answered.` + (keeper === disk ? "" : " Your answers are saved; you can close this page.");
    show("done");
  }

  function turnTo(index) {
    const entry = state.sheet[index];
    stop();
    Object.assign(state, { index, seen: [false, false] });
    show("rating");
    count();
    at("prompt").textContent = entry.prompt;
    at("prompt").scrollTop = 0;
    at("back").hidden = index === 0;
    marked();
    hint("Loading…");
    videos.forEach((video, side) => {
      video.src = `media/${entry.videos[side]}.mp4`;
      video.load();
    });
  }

  function marked() {
    const entry = state.sheet[state.index];
    const voted = entry.pair in state.votes;
    const ready = voted || state.seen.every(Boolean);
    for (const button of choices) {
      button.setAttribute("aria-pressed", String(voted && state.votes[entry.pair] === meaning(button)));
      button.setAttribute("aria-disabled", String(!ready));
    }
    at("choices").setAttribute("aria-disabled", String(!ready));
    at("next").hidden = !voted;
    return ready;
  }

  function meaning(button) {
    const side = button.dataset.choice;
    return side === "" ? "" : state.sheet[state.index].videos[Number(side)];
  }

  // Playing: both begin together, and begin again together once both have ended.

  function stop() {
    state.playing = false;
    for (const video of videos) video.pause();
  }

  function rewound(video) {
    if (video.currentTime === 0) return null;
    return new Promise((done) => {
      video.addEventListener("seeked", done, { once: true });
      video.currentTime = 0;
    });
  }

  async function play() {
    const { index } = state;
    stop();
    state.playing = true;
    await Promise.all(videos.map(rewound));
    if (index !== state.index || !state.playing) return;
    try {
      await Promise.all(videos.map((video) => video.play()));
      if (index === state.index) remind();
    } catch (error) {
      if (index === state.index && error.name !== "AbortError") hint("Press Replay to start the videos.");
    }
  }

  function loaded() {
    if (state.playing || videos.some((video) => video.readyState < HTMLMediaElement.HAVE_ENOUGH_DATA)) return;
    if (calm) {
      state.playing = true;
      hint("Press Replay to start the videos.");
    } else {
      play();
    }
  }

  function ended() {
    videos.forEach((video, side) => (state.seen[side] ||= video.ended));
    if (!videos.every((video) => video.ended)) return;
    const { index } = state;
    marked();
    remind();
    if (!calm) setTimeout(() => index === state.index && !at("rating").hidden && videos.every((video) => video.ended) && play(), 500);
  }

  videos.forEach((video, side) => {
    video.addEventListener("loadedmetadata", () => video.style.setProperty("--shape", `${video.videoWidth} / ${video.videoHeight}`));
    video.addEventListener("canplaythrough", loaded);
    video.addEventListener("ended", ended);
    video.addEventListener("error", () => hint(`Video ${side + 1} does not load or cannot be played by this browser. Reload the page, or try another browser.`, true));
  });

  // Answers.

  async function vote(button) {
    if (state.saving || at("rating").hidden) return;
    if (!marked()) return hint("Watch both videos to the end, then choose.");
    const [entry, choice] = [state.sheet[state.index], meaning(button)];
    state.saving = true;
    hint("Saving…");
    try {
      await keeper.save(entry.pair, choice);
    } catch (error) {
      hint(`Not saved. ${error.message}`, true);
      return;
    } finally {
      state.saving = false;
    }
    state.votes[entry.pair] = choice;
    if (state.index + 1 < state.sheet.length) turnTo(state.index + 1);
    else goOn();
  }

  function back() {
    if (!at("rating").hidden && !state.saving && state.index > 0) turnTo(state.index - 1);
  }

  function next() {
    if (at("rating").hidden || state.saving || at("next").hidden) return;
    if (state.index + 1 < state.sheet.length) turnTo(state.index + 1);
    else goOn();
  }

  function replay() {
    if (!at("rating").hidden && videos.every((video) => video.readyState > 0)) play();
  }

  const keys = {
    1: () => vote(choices[0]), ArrowLeft: () => vote(choices[0]),
    0: () => vote(choices[1]), ArrowDown: () => vote(choices[1]),
    2: () => vote(choices[2]), ArrowRight: () => vote(choices[2]),
    b: back, Backspace: back, r: replay, n: next,
  };

  document.addEventListener("keydown", (event) => {
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const typing = event.target instanceof HTMLInputElement;
    if (!action || typing || at("rating").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target === at("prompt") && event.key === "ArrowDown") return; // it scrolls there
    event.preventDefault();
    action();
  });
  for (const button of choices) button.addEventListener("click", () => vote(button));
  at("back").addEventListener("click", back);
  at("next").addEventListener("click", next);
  at("replay").addEventListener("click", replay);
  at("review").addEventListener("click", () => turnTo(0));
  at("download").addEventListener("click", () => disk.download());
  at("leave").addEventListener("click", () => {
    remember(null);
    location.reload();
  });

  // Entering.

  async function enter(name, code) {
    at("refused").textContent = "";
    try {
      begin(await keeper.enter(name, code));
    } catch (error) {
      show("welcome");
      if (error.status === 403) at("codes").hidden = false;
      at("refused").textContent = error.message;
    }
  }

  at("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(at("name").value, at("code").value.trim());
  });
  at("question").textContent = data.question;
  at("asked").textContent = data.question;
  at("pairs").textContent = data.pairs;
  if (keeper === disk) {
    at("names").hidden = true;
    at("name").required = false;
  }
  const known = keeper === server ? stored(place) : stored(disk.key) && {};
  if (known) enter(known.name, known.code);
  else show("welcome");
})();
