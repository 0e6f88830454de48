// The gallery of a run over HTTP: its columns come apart from the page, thumbnails when they are in view.

async function fetchPictures() {
  const response = await fetch(pageIndex.columns);
  if (response.ok) return await response.json();
  showProblem(await refusalOf(response));
  return [];
}
