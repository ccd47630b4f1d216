// Who looks: the server has written it into the page.

/** Whether who looks may change anything. */
export const operates = document.body.dataset.operates === "yes";
