export {};
{
  const { join } = await import("node:path");
  console.log(join("a", "b"), new URL("https://example.org/?a=1").searchParams.get("a"), (1234.5).toLocaleString());
}
