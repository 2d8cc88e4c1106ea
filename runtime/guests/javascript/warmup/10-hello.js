{
  console.log("hello %s", "world", { a: [1, 2, { b: new Map([[1, 2]]) }] });
  console.error(new Error("warm"));
  await Promise.resolve();
  setTimeout(() => {}, 1);
}
