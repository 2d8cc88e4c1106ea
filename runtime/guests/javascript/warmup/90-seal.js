__cofferdam.seal();
