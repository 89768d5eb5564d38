'use strict';
// Tables of class "sortable": a click on a heading sorts by its column, a second one the other way round.
for (const table of document.querySelectorAll('table.sortable')) {
  const body = table.tBodies[0];
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = Number(text);
    return text === '' || text === '–' ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) =>
    typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener('click', () => {
      const descending = heading.getAttribute('aria-sort') === 'ascending';
      for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
      heading.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
      const rows = [...body.rows].map((row) => [key(row, column), row]);
      // Undefined scores come last either way.
      rows.sort(([a], [b]) =>
        a === null || b === null ? (a === null) - (b === null) : (descending ? -1 : 1) * compare(a, b));
      body.append(...rows.map(([, row]) => row));
    });
  });
}
